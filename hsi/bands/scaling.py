"""Bounds, offsets and scales: of bands before a method, of components after it."""

from __future__ import annotations

import numpy as np

SCALINGS = ("standard", "minmax", "none")
CLIP_PERCENTILES = (1, 99)


def fit_bands(
    spectra: np.ndarray, scaling: str, *, from_zero: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Clipping bounds, offset and scale of each band, and notes.

    Args:
        spectra: (n, bands) float64, in counts.
        scaling: one of `SCALINGS`.
        from_zero: scaled values must not be negative, as NMF wants them.
    """
    bands = spectra.shape[1]
    low, high = np.full(bands, -np.inf), np.full(bands, np.inf)
    if scaling != "none":
        bottom, top = np.percentile(spectra, CLIP_PERCENTILES, axis=0)
        # Where nearly all values are one, the few others may be a class: they are kept.
        one = bottom == top
        bottom = np.where(one, spectra.min(axis=0), bottom)
        top = np.where(one, spectra.max(axis=0), top)
        low, high = bottom - (top - bottom), top + (top - bottom)
    if from_zero:  # with a margin for pixels darker than all of these
        least = np.clip(spectra, low, high).min(axis=0)
        low = np.zeros(bands) if scaling == "none" else least - (high - low) / 30
        offset = low
        scale = np.ones(bands) if scaling == "none" else np.where(high > low, high - low, 1.0)
    else:
        offset, scale = location_and_scale(np.clip(spectra, low, high), scaling)
    return low, high, offset, scale, _flat_notes(np.flatnonzero(np.ptp(spectra, axis=0) == 0))


def _flat_notes(flat: np.ndarray) -> tuple[str, ...]:
    """On constant bands, by their places: the sensor's numbers are not known here."""
    if not len(flat):
        return ()
    such = f" (one of {len(flat)} such)" if len(flat) > 1 else ""
    return (
        f"Channel {flat[0] + 1} of those that go in{such} is constant over the training pixels.",
    )


def location_and_scale(values: np.ndarray, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    """What to subtract from and divide by each column; a constant column is divided by 1."""
    if scaling == "none":
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    if scaling == "standard":
        offset, scale = values.mean(axis=0), values.std(axis=0)
    else:
        offset, scale = values.min(axis=0), np.ptp(values, axis=0)
    # A constant column's deviation may be a rounding error above zero; its range is exact.
    return offset, np.where(np.ptp(values, axis=0) > 0, scale, 1.0)


def component_scale(weights: np.ndarray, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    """Centre each component, and divide all by the largest one's spread.

    One divisor for all: dividing each by its own would blow up the noise of the last ones (on the
    Indian Pines chip, PCA 20, that costs `cao` two points of accuracy), and int8 loses nothing.
    """
    offset, scale = location_and_scale(weights, scaling)
    varies = np.ptp(weights, axis=0) > 0  # a component that is nowhere used has scale 1
    return offset, np.full_like(scale, scale[varies].max(initial=0) or 1.0)
