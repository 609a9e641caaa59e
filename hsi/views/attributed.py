"""Attributions of variants on samples, with the options of the request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hsi import explain
from hsi.compare.explained import ZERO_OF_BANDS, training_ranges
from hsi.errors import SettingsError
from hsi.explain import METHODS
from hsi.explain.attribution import Attribution
from hsi.images import read_samples
from hsi.patches import Patches
from hsi.predict import batches
from hsi.views.image_set import ImageSetSubject
from hsi.views.opened import Opened
from hsi.views.request import NOISE, SMOOTH, SMOOTH_SAMPLES, Request
from hsi.views.subject import SceneSubject

BASELINE_WORDS = ("zero", "mean", "blurred")


class Attributed:
    """Attributes scores of one variant; what all its calls need is computed once.

    Args:
        opened: the variant.
        request: its options.
        own: explain the network's own input (components) and not what is shown.
    """

    def __init__(self, opened: Opened, request: Request, *, own: bool = False) -> None:
        self._request = request
        self._score = opened.own if own else opened.score
        self._subject = opened.subject
        self._own = own
        self._nothing = None if own else opened.nothing
        self._options: dict[str, dict[str, Any]] = {}

    def __call__(self, method: str, inputs: np.ndarray, classes: np.ndarray | None) -> Attribution:
        """Attributions for samples (n, ...) of classes (n,); None explains the predicted ones."""
        if method not in self._options:
            self._options[method] = self.options(method, inputs)
        found = explain.attribute(
            method,
            self._score,
            inputs,
            classes=classes,
            batch_size=self._request.batch_size,
            seed=self._request.seed,
            **self._options[method],
        )
        if self._nothing is None or self._options[method].get("baseline") is not self._nothing:
            return found
        return replace(found, notes=(*found.notes, ZERO_OF_BANDS))

    def options(self, method: str, inputs: np.ndarray) -> dict[str, Any]:
        """The options of one method that the request names; others keep their defaults."""
        asked = self._request
        found: dict[str, Any] = {}
        if METHODS[method].takes_layer and asked.layers:
            found["layer"] = asked.layers[0]
        if method == "layer_attention":
            found["channel"] = asked.channel
        if method in SMOOTH:
            found["samples"] = asked.smooth_samples or SMOOTH_SAMPLES
            found["noise"] = NOISE if asked.noise is None else asked.noise
            found["ranges"] = self._ranges()
        if method == "integrated_gradient":
            found |= {"points": asked.steps, "tolerance": asked.tolerance}
            if asked.steps and asked.steps > 512:
                found["most_points"] = asked.steps
        if method == "occlusion":
            found |= {"size": _square(asked.window), "stride": _square(asked.stride)}
        if method in ("occlusion", "spectral_occlusion"):
            found["channels"] = asked.window_bands
        if method == "rise":
            found["masks"] = asked.masks
        if "baseline" in explain.options_of(method):
            found["baseline"] = self._baseline(inputs)
        return {name: value for name, value in found.items() if value is not None}

    @property
    def in_bands(self) -> str:
        """The option that counts bands or lists one value for each: it fits no other channels.

        "" where there is none, or where components themselves are shown.
        """
        asked = self._request
        if asked.space == "components":
            return ""
        if asked.window_bands is not None:
            return "window_bands"
        return "baseline" if asked.baseline is not None and _is_file(asked.baseline) else ""

    def _patches(self) -> Patches:
        assert isinstance(self._subject, SceneSubject)
        return self._subject.samples.patches if self._own else self._subject.patches

    def _ranges(self) -> np.ndarray | None:
        """Of each channel over training samples; of other images over those that are shown."""
        subject = self._subject
        if not isinstance(subject, SceneSubject | ImageSetSubject):
            return None
        source = self._patches() if isinstance(subject, SceneSubject) else subject.samples.images
        return training_ranges(subject.samples, source, seed=self._request.seed)

    def _baseline(self, inputs: np.ndarray) -> Any:
        """What stands for "nothing there"; the mean is that of training samples where known."""
        asked = self._request.baseline
        if asked in (None, "zero") and self._nothing is not None:
            return self._nothing
        if asked == "mean" and isinstance(self._subject, ImageSetSubject):
            return self._subject.means(self._request.seed)
        if asked == "mean" and isinstance(self._subject, SceneSubject):
            return channel_means(self._patches(), self._subject.samples.part("train").pixels)
        if asked is None or asked in BASELINE_WORDS:
            return asked
        if not _is_file(asked):
            return float(asked)
        if not Path(asked.rpartition(":")[0] or asked).exists() and not Path(asked).exists():
            raise SettingsError(
                f"baseline: expected {', '.join(BASELINE_WORDS)}, a number or a .npy file of one "
                f"sample, got {asked!r}."
            )
        return read_samples(asked, inputs.ndim)[0]


def _is_file(baseline: str) -> bool:
    """Whether a baseline is no word and no number, so that it names a file."""
    if baseline in BASELINE_WORDS:
        return False
    try:
        float(baseline)
    except ValueError:
        return True
    return False


def _square(side: int | None) -> tuple[int, int] | None:
    return None if side is None else (side, side)


def channel_means(patches: Patches, pixels: np.ndarray) -> np.ndarray:
    """(channels,) mean over the pixels themselves."""
    half = patches.patch_size // 2
    total = np.zeros(patches.channels)
    for some in batches(pixels, 256):
        total += patches.gather(some)[:, half, half].sum(axis=0, dtype=np.float64)
    return (total / len(pixels)).astype(np.float32)
