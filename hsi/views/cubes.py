"""Attributions of samples of a scene as ENVI cubes, which other programs of the field open.

Each is (patch, patch, bands) signed values with the wavelengths of the bands, and where the scene
has a georeference it lies on its patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi.errors import SettingsError
from hsi.views.look import Look
from hsi.views.subject import SceneSubject
from hsi.writers.cubes import write_envi

if TYPE_CHECKING:
    from hsi.explain.attribution import Attribution


def show(look: Look, found: Mapping[str, list[Attribution]]) -> list[Path]:
    """Write a header and its data for each sample, method and variant; returns the headers.

    Raises:
        SettingsError: the samples are no patches of a scene.
        OutputError: they cannot be written.
    """
    if not isinstance(look.subject, SceneSubject):
        raise SettingsError("format envi: expected a scene; images are no cubes of bands.")
    written: list[Path] = []
    for method, results in found.items():
        for part, result in zip(look.file_parts, results, strict=True):
            for place, maps in enumerate(result.maps):
                name = look.stem(place, f"_{method}" if method != look.request.method else "")
                name += f"_{part}" if len(results) > 1 else ""
                written.append(_write(look, look.subject, place, name, maps, method))
    return written


def _write(
    look: Look, subject: SceneSubject, place: int, name: str, maps: np.ndarray, method: str
) -> Path:
    row, col = divmod(int(look.chosen.keys[place]), subject.scene.cols)
    half = maps.shape[0] // 2
    grid = subject.scene.georeference
    number = look.class_number(int(look.chosen.explained[place]))
    header, _ = write_envi(
        look.output.path(name, ".hdr"),
        np.asarray(maps, np.float32),
        wavelengths=subject.wavelengths,
        georeference=None if grid is None else grid.window(row - half, col - half),
        band_names=[f"band {band}" for band in subject.numbers],
        description=f"{method} of class {number} at pixel {row} {col} (row col from 0)",
    )
    look.say(f"Written: {header}")
    return header
