"""Attribution of every pixel of a scene, for the class that is predicted there.

Patches are copied out of the scene a batch at a time, so what is held does not grow with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi.predict import batches
from hsi.progress import progress
from hsi.views import draw
from hsi.views.attributed import Attributed
from hsi.views.look import Look
from hsi.views.opened import Opened
from hsi.views.request import Request
from hsi.views.subject import SceneSubject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 1024


@dataclass(frozen=True, eq=False)
class SceneMaps:
    """What every pixel's own patch says of the class predicted there.

    Attributes:
        magnitude: (rows, cols) mean saliency over the values of the patch.
        peak: (rows, cols) the channel of the largest saliency, summed over the patch.
        predicted: (rows, cols) class index.
        per_band: whether channels are told apart at all.
    """

    magnitude: np.ndarray
    peak: np.ndarray
    predicted: np.ndarray
    per_band: bool


def scene_maps(opened: Opened, request: Request) -> SceneMaps:
    """Attribute the predicted class of every pixel, borders included."""
    subject = opened.subject
    assert isinstance(subject, SceneSubject)
    rows, cols = subject.scene.labels.shape
    tool = Attributed(opened, request)
    magnitude = np.empty(rows * cols, np.float32)
    peak = np.empty(rows * cols, np.int64)
    predicted = np.empty(rows * cols, np.int64)
    per_band = True
    with progress(f"{request.method} of {opened.label}", rows * cols) as advance:
        for keys in batches(np.arange(rows * cols), BATCH):
            result = tool(request.method, subject.shown(keys), None)
            saliency = np.abs(result.maps)
            magnitude[keys] = saliency.mean(axis=(1, 2, 3))
            peak[keys] = saliency.sum(axis=(1, 2)).argmax(axis=1)
            predicted[keys] = result.classes
            per_band = result.per != "pixel"
            advance(int(keys[-1]) + 1, "")
    size = (rows, cols)
    return SceneMaps(magnitude.reshape(size), peak.reshape(size), predicted.reshape(size), per_band)


def show(look: Look) -> list[Path]:
    """One figure: a row a variant."""
    found = {
        label: scene_maps(opened, look.request)
        for opened, label in zip(look.variants, look.labels, strict=True)
    }
    _say(look, found)
    return [look.write_figure(_draw(look, found), f"{look.request.stem}_scene")]


def _say(look: Look, found: Mapping[str, SceneMaps]) -> None:
    for label, maps in found.items():
        look.say(
            f"{label}: attribution magnitude over the scene, median "
            f"{np.median(maps.magnitude):.3g}, largest {maps.magnitude.max():.3g}"
        )


def _draw(look: Look, found: Mapping[str, SceneMaps]) -> Figure:
    """Magnitude, strongest wavelength and predicted class of every pixel, a row a variant."""
    from hsi.plots.scene_attribution import scene_attribution

    subject = look.subject
    assert isinstance(subject, SceneSubject)
    waves = subject.wavelengths
    axis = subject.numbers if waves is None else waves
    name = draw.LABELS.get(look.request.method, look.request.method)
    return scene_attribution(
        {label: maps.magnitude for label, maps in found.items()},
        {label: np.asarray(axis, float)[maps.peak] for label, maps in found.items()},
        subject.scene.labels,
        subject.scene.class_names,
        predicted={label: subject.class_numbers[maps.predicted] for label, maps in found.items()},
        title=f"{draw.title(look)}: {name}",
        magnitude_label=f"mean magnitude over the patch of {name}",
        strongest_label=subject.unit if waves is None else "wavelength (nm)",
        synthetic=subject.synthetic,
        note=subject.note,
    )
