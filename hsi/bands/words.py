"""What a run says of its band reduction or selection, in words and as facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hsi.bands.preparation import Preparation
from hsi.bands.table import NONE


def describe(
    preparation: Preparation,
    sensor_bands: Sequence[int] | np.ndarray,
    wavelengths: np.ndarray | None,
) -> tuple[str, ...]:
    """Lines for the user; none without a method.

    Args:
        sensor_bands: (bands,) 1-based numbers in the sensor's own list of the bands that go in.
        wavelengths: (bands,) nm, or None where unknown.
    """
    if preparation.reducer == NONE:
        return ()
    summary = preparation.summary()
    name, count = preparation.reducer, preparation.channels
    rebuilt = f"{summary.get('rebuilt_variance', 0):.2%}"
    if preparation.selects:
        kept = chosen_bands(preparation, sensor_bands, wavelengths)
        return (
            f"{name}: {count} of {preparation.bands} bands, from which {rebuilt} of the variance "
            "of all can be rebuilt.",
            f"Bands kept: {', '.join(_band(**band) for band in kept)}.",
        )
    if "explained_variance" in summary:
        said = f"{summary['explained_variance']:.2%} of variance"
    elif "relative_reconstruction_error" in summary:
        said = f"relative reconstruction error {summary['relative_reconstruction_error']:.2%}"
    else:
        said = f"from which {rebuilt} of the bands' variance can be rebuilt"
    return (f"{name}: {count} components, {said}.",)


def facts(
    preparation: Preparation,
    sensor_bands: Sequence[int] | np.ndarray,
    wavelengths: np.ndarray | None,
) -> dict[str, Any]:
    """What belongs in the run file: the summary, and of a selection the bands that it keeps.

    Args: as `describe`.
    """
    found = preparation.summary()
    if preparation.selects:
        found["chosen_bands"] = chosen_bands(preparation, sensor_bands, wavelengths)
    return found


def chosen_bands(
    preparation: Preparation,
    sensor_bands: Sequence[int] | np.ndarray,
    wavelengths: np.ndarray | None,
) -> list[dict[str, Any]]:
    """The sensor's number and the wavelength (None where unknown) of each band that is kept."""
    return [
        {
            "band": int(sensor_bands[band]),
            "wavelength_nm": None if wavelengths is None else float(wavelengths[band]),
        }
        for band in preparation.chosen
    ]


def _band(band: int, wavelength_nm: float | None) -> str:
    known = wavelength_nm is not None and np.isfinite(wavelength_nm)
    return f"{band} ({wavelength_nm:.0f} nm)" if known else str(band)
