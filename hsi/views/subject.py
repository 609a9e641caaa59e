"""The subject of a look: the samples that models were made for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from hsi import bands
from hsi.deploy.variant import sizes_text
from hsi.errors import ModelError, SettingsError
from hsi.patches import Patches
from hsi.pipeline.job import data_run, on_counts, samples_of
from hsi.runs import Run
from hsi.samples import Samples, class_numbers, open_samples
from hsi.scene import Scene
from hsi.settings import Settings
from hsi.views.locate import Located
from hsi.views.request import Request

Say = Callable[[str], None]

SCALED = {"standard": "standardised", "minmax": "min-max scaled", "none": "raw"}


def synthetic_line(name: str) -> str:
    """The first line of output on generated data."""
    return f"SYNTHETIC scene {name}: generated data, not a measurement."


@dataclass(frozen=True)
class SceneSubject:
    """A scene, prepared as a network takes it, and as its attributions are shown.

    Attributes:
        run: that the samples come from, or None.
        samples: scene, split, preparation and patches.
        scaling: of the bands: "standard", "minmax" or "none".
        space: what is attributed: "bands", "counts" or "components".
    """

    run: Run | None
    samples: Samples
    scaling: str
    space: str = "bands"

    @property
    def scene(self) -> Scene:
        return self.samples.scene

    @property
    def name(self) -> str:
        return self.scene.name

    @property
    def synthetic(self) -> bool:
        return self.scene.synthetic

    @property
    def reduced(self) -> bool:
        """Whether the network takes components instead of bands."""
        return self.samples.preparation.reducer != "none"

    @property
    def of_components(self) -> bool:
        """Whether what is shown are components; what a selection keeps are bands."""
        fitted = self.samples.preparation
        return self.reduced and self.space == "components" and not fitted.selects

    @property
    def unit(self) -> str:
        """What a channel of what is shown is: "band" or "component"."""
        return "component" if self.of_components else "band"

    @property
    def _kept(self) -> Any:
        """Which of the bands that go in are shown: all, or those that a selection keeps."""
        fitted = self.samples.preparation
        return fitted.chosen if self.space == "components" and fitted.selects else slice(None)

    @property
    def numbers(self) -> np.ndarray:
        """(channels,) the number of each channel shown: in the sensor's list, or from 1."""
        if self.of_components:
            return np.arange(1, self.samples.preparation.channels + 1)
        return self.scene.sensor_bands()[self._kept]

    @property
    def wavelengths(self) -> np.ndarray | None:
        """(channels,) nm of each channel shown; None for components or where unknown."""
        known = self.scene.wavelengths
        return None if self.of_components or known is None else known[self._kept]

    @property
    def input_words(self) -> str:
        """What an input value is, for a colour bar."""
        if self.of_components:
            return f"{self.samples.preparation.reducer} component"
        if self.space == "counts":
            return "sensor counts"
        scaled = "scaled" if self.samples.preparation.reducer == "NMF" else SCALED[self.scaling]
        return f"{scaled} input"

    @property
    def classes(self) -> int:
        return len(self.scene.classes)

    @property
    def class_numbers(self) -> np.ndarray:
        """(classes + 1,) published numbers; the last, for index -1, is 0: unlabelled."""
        return np.array([*self.scene.classes, 0])

    def class_text(self, index: int) -> str:
        """Number and name of a class index; -1 is unlabelled."""
        if index < 0:
            return "unlabelled"
        number = self.scene.classes[index]
        return f"{number} {self.scene.class_names[number]}"

    def class_index(self, text: str) -> int:
        """Index of the class of this published number or name.

        Raises:
            SettingsError: no such class, or the name of several.
        """
        numbers = class_numbers(self.scene, (text,))
        if len(numbers) != 1:
            raise SettingsError(
                f"class: expected one number or name, got {text!r}, a set of classes."
            )
        return self.scene.classes.index(numbers[0])

    @cached_property
    def patches(self) -> Patches:
        """The patches of what is shown; those of the network where that is the same."""
        preparation = self.samples.preparation
        if self.space == "counts":
            return Patches(np.asarray(self.scene.cube), self.samples.patches.patch_size)
        if not self.reduced or self.space == "components":
            return self.samples.patches
        unreduced = replace(preparation, reducer="none")
        return Patches(bands.apply(unreduced, self.scene.cube), self.samples.patches.patch_size)

    def shown(self, keys: np.ndarray) -> np.ndarray:
        """(n, patch, patch, channels) of what is shown, around flat pixel numbers (n,)."""
        return self.patches.gather(keys)

    def own(self, keys: np.ndarray) -> np.ndarray:
        """The same patches as the network takes them."""
        return self.samples.patches.gather(keys)

    def true(self, keys: np.ndarray) -> np.ndarray:
        """(n,) class indices, -1 where unlabelled."""
        return self.scene.class_indices().ravel()[keys]

    def place(self, key: int) -> str:
        """A sample in words: its pixel, and its part of the split."""
        row, col = divmod(int(key), self.scene.cols)
        split = self.samples.split
        masks: dict[str, Any] = {
            "test": split.test, "training": split.train, "validation": split.validation,
        }  # fmt: skip
        part = next((name for name, mask in masks.items() if mask[row, col]), "in no part")
        return f"pixel {row},{col} ({part})"

    def stem(self, key: int) -> str:
        """A sample in the name of a file."""
        row, col = divmod(int(key), self.scene.cols)
        return f"{row}_{col}"

    @property
    def note(self) -> str:
        """What is said under every figure: the split, and how far its numbers can be trusted."""
        parts = [f"{self.samples.note}."]
        if self.wavelengths is not None and self.scene.wavelengths_approximate:
            parts.append("Wavelengths are a linear approximation.")
        return " ".join(parts)

    def made_for(self) -> dict[str, Any]:
        """What variants must share to be compared."""
        fitted, scene = self.samples.preparation, self.scene
        found = {
            "scene": scene.name,
            "shape": scene.cube.shape,
            "hash of the data": scene.sha256,
            "classes": scene.classes,
            "patch size": self.samples.patches.patch_size,
        }
        if self.space != "counts":  # what all networks are then a function of
            found["input"] = f"{SCALED[self.scaling]} {self.unit}s"
        if self.reduced and self.space == "components":
            size = float(np.abs(fitted.components).sum())
            found["components"] = (fitted.reducer, fitted.channels, size, *fitted.chosen.tolist())
        return found

    def check_model(self, path: Any, shape: tuple[int | None, ...], classes: int) -> None:
        """Refuse a network of other patches or of other classes (`ModelError`)."""
        wanted = self.samples.patches.shape
        if len(shape) != 3 or any(s not in (None, w) for s, w in zip(shape, wanted, strict=True)):
            raise ModelError(
                f"{path}: expected a network that takes patches of {sizes_text(wanted)}, "
                f"it takes {sizes_text(shape)}."
            )
        if classes != self.classes:
            raise ModelError(
                f"{path}: the model tells {classes} classes apart, {self.name} "
                f"has {self.classes}; choose those of its training with --classes."
            )


def open_scene_subject(request: Request, located: Located, *, say: Say) -> SceneSubject:
    """The samples that a model was made for; loads no TensorFlow.

    With a run they are those of the run. Without one, the preparation is fitted anew on the
    training pixels of the split that the data options give, and that is said.

    Raises:
        SettingsError: no run and no data set named, or settings that contradict each other.
        ModelError: a model of other patches or another number of bands or components.
        DataError: whatever is wrong with the data.
    """
    side, channels = _patch_shape(located)
    if located.run is None:
        subject = _without_run(request, located, side, say)
    else:
        run = located.run
        _check_patch(located, side, run.record.get("split", {}).get("patch_size"), "the run has")
        samples = samples_of(run, say=say)
        assert isinstance(samples, Samples)
        scaling = data_run(run).settings.scaling
        if run.takes_counts(located.path.name):
            samples, scaling = on_counts(samples), "none"
        subject = SceneSubject(run, samples, scaling, request.space)
    _check_channels(subject, located, channels)
    return subject


def _patch_shape(located: Located) -> tuple[int | None, int | None]:
    """Side and channels of the patches that a model file says it takes; None where free.

    Raises:
        ModelError: a model of other samples than odd, square patches.
    """
    shape = located.input_shape
    if shape is None:
        return None, None
    if len(shape) != 3:
        raise ModelError(
            f"{located.path}: expected a model of patches (rows x cols x channels), it takes "
            f"{sizes_text(shape)}; give it samples with --image or --array."
        )
    rows, cols, channels = shape
    if rows != cols or (rows is not None and rows % 2 == 0):
        raise ModelError(
            f"{located.path}: expected a model of square patches with an odd side, it takes "
            f"{sizes_text(shape)}; give it samples with --image or --array."
        )
    return rows, channels


def _without_run(request: Request, located: Located, side: int | None, say: Say) -> SceneSubject:
    if "dataset" not in request.data:
        raise SettingsError(
            f"{located.path}: no run.json beside it; say what it was trained on with --dataset "
            "(and --band_selection, --components, --split ... as in generate_model.py), or give "
            "it samples with --image or --array."
        )
    given: dict[str, Any] = dict(request.data)
    settings = Settings(model=request.model or "cao", seed=request.seed, **given).check()
    if settings.patch_size is not None:
        _check_patch(located, side, settings.patch_size, "--patch_size is")
    patch_size = side or settings.patch_size
    if patch_size is None:
        raise SettingsError(
            f"{located.path}: takes patches of any size; say which with --patch_size."
        )
    samples = open_samples(settings, patch_size=patch_size, say=say)
    say(
        f"Note: no run.json beside {located.path}: the preparation is fitted anew on the "
        f"{np.count_nonzero(samples.split.train)} training pixels of --split {settings.split} "
        f"(seed {settings.seed}); it may differ from that of the model's training."
    )
    return SceneSubject(None, samples, settings.scaling, request.space)


def _check_patch(located: Located, side: int | None, patch_size: int | None, whose: str) -> None:
    if None not in (side, patch_size) and side != patch_size:
        raise ModelError(
            f"{located.path}: the model takes patches of {side} x {side} pixels, "
            f"{whose} {patch_size} x {patch_size}."
        )


def _check_channels(subject: SceneSubject, located: Located, channels: int | None) -> None:
    have = subject.samples.patches.channels
    if channels not in (None, have):
        if subject.reduced:
            prepared = f"the preparation gives {have} components"
        else:
            prepared = f"{subject.name} has {have} bands"
        raise ModelError(
            f"{located.path}: a model trained on another band count: it takes {channels} "
            f"channels, {prepared}; name the data of its training with --dataset, "
            "--band_selection and --components."
        )
