"""Baselines: the input that stands for "nothing there", to which a sample is compared."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from hsi.errors import SettingsError, one_of

BASELINES = ("zero", "mean", "blurred")

Baseline = str | float | np.ndarray


def baseline_of(inputs: np.ndarray, baseline: Baseline) -> np.ndarray:
    """One baseline for each sample, in the shape and type of the inputs.

    Args:
        inputs: (n, rows, cols, channels).
        baseline: "zero" (of standardised inputs the mean of the training pixels); "mean" (of each
            channel over the inputs given here: pass an array where results of several calls are
            compared); "blurred" (each channel of the sample under a Gaussian of an eighth of the
            side, at least one pixel: the spectrum stays, the places go); a number; or an array
            that broadcasts to the inputs, such as (channels,) or (rows, cols, channels).

    Raises:
        SettingsError: another word, or an array that does not broadcast or is not finite.
    """
    if isinstance(baseline, str):
        one_of(baseline, BASELINES, what="baseline")
        if baseline == "zero":
            return np.zeros_like(inputs)
        if baseline == "mean":
            mean = inputs.mean(axis=tuple(range(inputs.ndim - 1)), dtype=np.float64)
            return np.broadcast_to(mean, inputs.shape).astype(inputs.dtype)
        sides = inputs.shape[1:-1]
        sigma = (0.0, *(max(1.0, side / 8) for side in sides), 0.0)
        return gaussian_filter(inputs, sigma, mode="nearest")
    given = np.asarray(baseline, inputs.dtype)
    try:
        found = np.broadcast_to(given, inputs.shape).copy()
    except ValueError:
        found = np.full((), np.nan)
    if found.shape != inputs.shape or not np.isfinite(found).all():
        raise SettingsError(
            f"Expected a baseline of finite numbers that fits inputs of shape {inputs.shape}, "
            f"got shape {given.shape}; or one of {', '.join(BASELINES)}."
        )
    return found
