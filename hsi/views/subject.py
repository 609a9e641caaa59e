"""The subject of a look: a model together with the samples that it was made for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.errors import ModelError, SettingsError
from hsi.pipeline.job import samples_of
from hsi.runs import Run
from hsi.samples import Samples, class_numbers, open_samples
from hsi.scene import Scene
from hsi.settings import Settings
from hsi.views.locate import Located
from hsi.views.request import Request

if TYPE_CHECKING:
    import tf_keras as keras

Say = Callable[[str], None]

SCALED = {"standard": "standardised", "minmax": "min-max scaled", "none": "raw"}


@dataclass(frozen=True)
class Subject:
    """A model file with its samples; the network itself is opened by `open_network`.

    Attributes:
        path: the model file.
        run: that it belongs to, or None.
        samples: scene, split, preparation and patches.
        scaling: of the bands: "standard", "minmax" or "none".
    """

    path: Path
    run: Run | None
    samples: Samples
    scaling: str

    @property
    def scene(self) -> Scene:
        return self.samples.scene

    @property
    def reduced(self) -> bool:
        """Whether the network takes components instead of bands."""
        return self.samples.preparation.reducer != "none"

    @property
    def unit(self) -> str:
        """What a channel of the input is: "band" or "component"."""
        return "component" if self.reduced else "band"

    @property
    def numbers(self) -> np.ndarray:
        """(channels,) the number of each input channel: in the sensor's list, or from 1."""
        if self.reduced:
            return np.arange(1, self.samples.preparation.channels + 1)
        return self.scene.sensor_bands()

    @property
    def wavelengths(self) -> np.ndarray | None:
        """(channels,) nm of each input channel; None for components or where unknown."""
        return None if self.reduced else self.scene.wavelengths

    @property
    def input_words(self) -> str:
        """What an input value is, for a colour bar."""
        if self.reduced:
            return f"{self.samples.preparation.reducer} component"
        return f"{SCALED[self.scaling]} input"

    @property
    def variant(self) -> str:
        """The variant's name in the run, "" where it is not on record."""
        entry = self.run.record["variants"].get(self.path.name) if self.run else None
        return str(entry["row"]["variant"]) if entry else ""

    @property
    def title(self) -> str:
        """File, variant and scene in one line."""
        variant = f" ({self.variant})" if self.variant else ""
        return f"{self.path.name}{variant} on {self.scene.name}"

    def class_text(self, index: int) -> str:
        """Number and name of a class index; -1 is unlabelled."""
        if index < 0:
            return "unlabelled"
        number = self.scene.classes[index]
        return f"{number} {self.scene.class_names[number]}"


def open_subject(request: Request, located: Located, *, say: Say) -> Subject:
    """The samples that a model was made for; loads no TensorFlow.

    With a run they are those of the run. Without one, the preparation is fitted anew on the
    training pixels of the split that the data options give, and that is said.

    Raises:
        SettingsError: no run and no data set named, or settings that contradict each other.
        ModelError: a model of other patches or another number of bands or components.
        DataError: whatever is wrong with the data.
    """
    if located.run is None:
        subject = _without_run(request, located, say)
    else:
        _check_patch(located, located.run.record.get("split", {}).get("patch_size"), "the run has")
        samples = samples_of(located.run, say=say)
        subject = Subject(located.path, located.run, samples, located.run.settings.scaling)
    _check_channels(subject, located.input_shape[2])
    return subject


def open_network(subject: Subject) -> keras.Model:
    """The network of a subject, checked against the classes and patches; loads TensorFlow.

    Raises:
        ModelError: a file that does not open, or a network of other classes or other patches.
    """
    from hsi.models.files import load_model
    from hsi.quiet import start_tensorflow

    start_tensorflow()
    model = load_model(subject.path)
    inputs, outputs = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if not isinstance(inputs, tuple) or not isinstance(outputs, tuple) or len(outputs) != 2:
        raise ModelError(
            f"{subject.path}: expected a network with one input and one output of "
            f"(samples, classes), got an input of {inputs} and an output of {outputs}."
        )
    wanted = subject.samples.patches.shape
    if len(inputs) != 4 or any(s not in (None, w) for s, w in zip(inputs[1:], wanted, strict=True)):
        raise ModelError(
            f"{subject.path}: expected a network that takes patches of {_sizes(wanted)}, "
            f"it takes {_sizes(inputs[1:])}."
        )
    classes = len(subject.scene.classes)
    if outputs[1] != classes:
        raise ModelError(
            f"{subject.path}: the model tells {outputs[1]} classes apart, {subject.scene.name} "
            f"has {classes}; choose those of its training with --classes."
        )
    return model


def class_index(subject: Subject, text: str) -> int:
    """Index of the class of this published number or name.

    Raises:
        SettingsError: no such class, or the name of several.
    """
    numbers = class_numbers(subject.scene, (text,))
    if len(numbers) != 1:
        raise SettingsError(f"class: expected one number or name, got {text!r}, a set of classes.")
    return subject.scene.classes.index(numbers[0])


def _without_run(request: Request, located: Located, say: Say) -> Subject:
    if "dataset" not in request.data:
        raise SettingsError(
            f"{located.path}: no run.json beside it; say what it was trained on with --dataset "
            "(and --band_selection, --components, --split ... as in generate_model.py)."
        )
    given: dict[str, Any] = dict(request.data)
    settings = Settings(model=request.model or "cao", seed=request.seed, **given).check()
    side = located.input_shape[0]
    if settings.patch_size is not None:
        _check_patch(located, settings.patch_size, "--patch_size is")
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
    return Subject(located.path, None, samples, settings.scaling)


def _check_patch(located: Located, patch_size: int | None, whose: str) -> None:
    side = located.input_shape[0]
    if None not in (side, patch_size) and side != patch_size:
        raise ModelError(
            f"{located.path}: the model takes patches of {side} x {side} pixels, "
            f"{whose} {patch_size} x {patch_size}."
        )


def _check_channels(subject: Subject, channels: int | None) -> None:
    have = subject.samples.patches.channels
    if channels not in (None, have):
        if subject.reduced:
            prepared = f"the preparation gives {have} {subject.unit}s"
        else:
            prepared = f"{subject.scene.name} has {have} bands"
        raise ModelError(
            f"{subject.path}: a model trained on another band count: it takes {channels} "
            f"channels, {prepared}; name the data of its training with --dataset, "
            "--band_selection and --components."
        )


def _sizes(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if s is None else str(s) for s in shape)
