"""Attributions over the spectrum: maps summed over the pixels, and their mean with its interval.

The sum over the pixels keeps the sign and, for contributions, completeness: the sums over all
bands still add up to the score difference. Signs that differ from pixel to pixel cancel in it; the
mean magnitude shows what is left out then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsi.errors import SettingsError


@dataclass(frozen=True, eq=False)
class MeanSpectrum:
    """The mean of some spectra, and how far it and they can be trusted.

    Attributes:
        mean: (channels,).
        low, high: (channels,) ends of the interval of the mean; NaN of a single spectrum.
        sd: (channels,) standard deviation of the spectra, with n - 1; NaN of a single spectrum.
        count: how many spectra there are.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    sd: np.ndarray
    count: int


def pixel_sums(maps: np.ndarray) -> np.ndarray:
    """(n, rows, cols, channels) signed maps -> (n, channels) sums over the pixels."""
    return _maps(maps).sum(axis=(1, 2))


def pixel_magnitudes(maps: np.ndarray) -> np.ndarray:
    """(n, rows, cols, channels) signed maps -> (n, channels) mean magnitude over the pixels."""
    return np.abs(_maps(maps)).mean(axis=(1, 2))


def mean_spectrum(spectra: np.ndarray, *, confidence: float = 0.95) -> MeanSpectrum:
    """Mean of spectra, channel by channel, with the interval of Student's t (1908).

    The interval takes the spectra as independent, which neighbouring pixels are not.

    Args:
        spectra: (n, channels), n >= 1.
        confidence: of the interval, between 0 and 1.

    Raises:
        SettingsError: another shape, no spectrum, or a confidence out of range.
    """
    spectra = np.asarray(spectra, float)
    if spectra.ndim != 2 or not len(spectra):
        raise SettingsError(
            f"Expected spectra of (samples, channels) with at least one sample, "
            f"got shape {spectra.shape}."
        )
    if not 0 < confidence < 1:
        raise SettingsError(f"Expected a confidence between 0 and 1, got {confidence}.")
    count = len(spectra)
    mean = spectra.mean(axis=0)
    if count == 1:
        unknown = np.full_like(mean, np.nan)
        return MeanSpectrum(mean, unknown, unknown, unknown, 1)
    from scipy.stats import t

    sd = spectra.std(axis=0, ddof=1)
    half = t.ppf((1 + confidence) / 2, count - 1) * sd / np.sqrt(count)
    return MeanSpectrum(mean, mean - half, mean + half, sd, count)


def _maps(maps: np.ndarray) -> np.ndarray:
    maps = np.asarray(maps, float)
    if maps.ndim != 4:
        raise SettingsError(
            f"Expected maps of (samples, rows, cols, channels), got shape {maps.shape}."
        )
    return maps
