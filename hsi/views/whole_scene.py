"""Attribution of every pixel of a scene, for the class that is predicted there.

Shown is what the method says of each pixel's own patch, not a sum over the patches that hold the
pixel: neighbours are explained for classes of their own, and signed maps of a sum would cancel.
Where the network begins with a convolution, what neighbouring patches share is computed once and
none is cut (`hsi.explain.strips`), and that is proven in every strip on some of its patches;
otherwise patches are copied out of the scene a batch at a time. What is held does not grow with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi.errors import ModelError
from hsi.explain.attribution import Attribution
from hsi.patches import Strip
from hsi.predict import batches, sample
from hsi.progress import progress
from hsi.views import draw
from hsi.views.attributed import Attributed
from hsi.views.look import Look
from hsi.views.opened import Opened
from hsi.views.request import Request
from hsi.views.subject import SceneSubject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hsi.explain.strips import StripAttributor

BATCH = 1024
"""Patches that are cut at once, where they have to be."""

STRIP = 8192
"""Pixels of a strip at most."""

CHECKED = 12
"""Pixels of each strip whose maps are compared with those of their patches."""

AGREEING = 0.75
"""Share of them that must agree. Where rounding puts what goes into a ReLU on the other side of
zero a single map may differ, and neither is wrong; borders alone would be a third of them."""

TOLERANCE = 1e-3
"""Most that a map may differ from that of its patch, as a share of its largest value."""


@dataclass(frozen=True, eq=False)
class SceneMaps:
    """What every pixel's own patch says of the class predicted there.

    Attributes:
        magnitude: (rows, cols) mean saliency over the values of the patch; NaN at pixels without
            data, of which there is nothing to explain.
        peak: (rows, cols) the channel of the largest saliency, summed over the patch.
        predicted: (rows, cols) class index, `hsi.scene.NO_DATA` where there is none.
        per_band: whether channels are told apart at all.
        way: how it was computed, in words.
    """

    magnitude: np.ndarray
    peak: np.ndarray
    predicted: np.ndarray
    per_band: bool
    way: str


def scene_maps(opened: Opened, request: Request) -> SceneMaps:
    """Attribute the predicted class of every pixel, borders included."""
    subject = opened.subject
    assert isinstance(subject, SceneSubject)
    work = _Work(opened, request, subject)
    with progress(f"{request.method} of {opened.label}", len(work.magnitude)) as advance:
        for strip in subject.patches.strips(STRIP):
            work.attribute(strip, advance)
    scene = subject.scene
    magnitude, peak, predicted = (
        found.reshape(scene.labels.shape) for found in (work.magnitude, work.peak, work.predicted)
    )
    magnitude[~scene.has_data] = np.nan
    return SceneMaps(magnitude, peak, scene.marked(predicted), work.per_band, work.way)


class _Work:
    """The maps of a scene while they are made, strip after strip."""

    def __init__(self, opened: Opened, request: Request, subject: SceneSubject) -> None:
        self._tool, self._subject, self._request = Attributed(opened, request), subject, request
        self._shared, self._reason = self._strips(opened)
        self._draw, self._checked, self._done = np.random.default_rng(request.seed), 0, 0
        pixels = subject.patches.rows * subject.patches.cols
        self.magnitude = np.empty(pixels, np.float32)
        self.peak, self.predicted = np.empty((2, pixels), np.int64)
        self.per_band = True

    @property
    def way(self) -> str:
        """How the pixels were attributed, in words."""
        if self._shared is None:
            return f"patch by patch ({self._reason})"
        return (
            "patches share the affine beginning of the network, the rest is each patch's own; "
            f"as patch by patch at {self._checked} pixels checked"
        )

    def attribute(self, strip: Strip, advance: Callable[[int, str], None]) -> None:
        """The pixels of a strip."""
        pixels = self._subject.patches.pixels(strip)
        done, self._done = self._done, self._done + len(pixels)
        if self._shared is not None:
            places = sample(strip, CHECKED, self._draw)
            found = []
            for some, result in self._shared(self._subject.patches.around(strip)):
                self._keep(pixels[some], result)
                found.append(_some_of(result, np.isin(some, places)))
                advance(done + int(some[-1]) + 1, "")
            if self._proven(found, pixels[places]):
                self._checked += len(places)
                return
            self._shared = None
            self._reason = f"maps of shared work differed from row {strip.top} on"
        for batch in batches(pixels, BATCH):
            self._keep(batch, self._by_patches(batch))
            done += len(batch)
            advance(done, "")

    def _strips(self, opened: Opened) -> tuple[StripAttributor | None, str]:
        """The method over strips; or None, and why."""
        from hsi.explain.strips import StripAttributor

        request, patches = self._request, self._subject.patches
        options = self._tool.options(request.method, patches.gather(np.zeros(1, int)))
        try:
            return StripAttributor(
                request.method, opened.score, patches.shape, options,
                batch_size=request.batch_size, seed=request.seed,
            ), ""  # fmt: skip
        except ModelError as error:
            return None, str(error)

    def _by_patches(self, pixels: np.ndarray) -> Attribution:
        return self._tool(self._request.method, self._subject.shown(pixels), None)

    def _keep(self, pixels: np.ndarray, result: Attribution) -> None:
        saliency = np.abs(result.maps)
        self.magnitude[pixels] = saliency.mean(axis=(1, 2, 3))
        self.peak[pixels] = saliency.sum(axis=(1, 2)).argmax(axis=1)
        self.predicted[pixels] = result.classes
        self.per_band = result.per != "pixel"

    def _proven(self, found: list[tuple[np.ndarray, np.ndarray]], pixels: np.ndarray) -> bool:
        """Whether maps and classes of these pixels are those of their patches."""
        maps, classes = (np.concatenate(column) for column in zip(*found, strict=True))
        wanted = self._by_patches(pixels)
        largest = np.abs(wanted.maps).max(axis=(1, 2, 3), initial=0)
        away = np.abs(maps - wanted.maps).max(axis=(1, 2, 3))
        # The comparison of what is not finite is false: then patches have the last word.
        same = (away <= TOLERANCE * largest) & (classes == wanted.classes)
        return bool(same.mean() >= AGREEING)


def _some_of(result: Attribution, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return result.maps[chosen], result.classes[chosen]


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
            f"{np.nanmedian(maps.magnitude):.3g}, largest {np.nanmax(maps.magnitude):.3g}"
        )
        look.say(f"{label}: {maps.way}.")


def _draw(look: Look, found: Mapping[str, SceneMaps]) -> Figure:
    """Magnitude, strongest wavelength and predicted class of every pixel, a row a variant."""
    from hsi.plots.scene_attribution import scene_attribution

    subject = look.subject
    assert isinstance(subject, SceneSubject)
    waves = subject.wavelengths
    axis = subject.numbers if waves is None else waves
    name = draw.LABELS.get(look.request.method, look.request.method)
    numbers = {label: subject.class_numbers[maps.predicted] for label, maps in found.items()}
    return scene_attribution(
        {label: maps.magnitude for label, maps in found.items()},
        {label: np.asarray(axis, float)[maps.peak] for label, maps in found.items()},
        subject.scene.labels,
        subject.scene.class_names,
        predicted={label: subject.scene.marked(values) for label, values in numbers.items()},
        title=f"{draw.title(look)}: {name}",
        magnitude_label=f"mean magnitude of {name} over each pixel's own patch, for its own class",
        strongest_label=subject.unit if waves is None else "wavelength (nm)",
        synthetic=subject.synthetic,
        note=subject.note,
    )
