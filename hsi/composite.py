"""Three bands of a scene as red, green and blue, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hsi.scene import Scene

TRUE_COLOUR = (650.0, 550.0, 450.0)
"""Red, green and blue in nm."""
FALSE_COLOUR = (860.0, 650.0, 550.0)
"""Near infrared, red and green in nm, shown as red, green and blue: vegetation is red."""
STRETCH = (2, 98)
"""Percentiles of the scene that are drawn black and white."""


def composite(scene: Scene, colours: Sequence[float]) -> np.ndarray:
    """(rows, cols, 3) float32 of 0..1, each colour stretched over the pixels that hold data.

    Args:
        scene: with or without wavelengths.
        colours: what red, green and blue show, in nm; see `composite_bands`.
    """
    three = np.asarray(scene.cube[:, :, composite_bands(scene, colours)], np.float32)
    low, high = np.percentile(three[scene.has_data], STRETCH, axis=0)
    scaled = np.clip((three - low) / np.maximum(high - low, 1e-12), 0, 1)
    return np.asarray(scaled, np.float32)


def composite_bands(scene: Scene, colours: Sequence[float]) -> np.ndarray:
    """(3,) places of the bands nearest to these nm; without wavelengths the last, middle, first."""
    if scene.wavelengths is None or not np.isfinite(scene.wavelengths).any():
        return np.linspace(scene.bands - 1, 0, 3).round().astype(int)
    return np.array([np.nanargmin(np.abs(scene.wavelengths - nm)) for nm in colours])
