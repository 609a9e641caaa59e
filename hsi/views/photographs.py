"""Samples that come from files of their own: photographs, and arrays as a network takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsi.deploy.variant import sizes_text
from hsi.errors import DataError, ModelError, SettingsError
from hsi.file_names import name_part, telling_ends
from hsi.image_sets import ImageScaling, load_scaling
from hsi.images import fitted, read_photograph, read_samples
from hsi.pipeline.job import PREPARATION, data_run
from hsi.runs import Run
from hsi.views.locate import Located
from hsi.views.request import Request
from hsi.views.subject import SCALED

CHANNELS = (1, 3)
"""Of what can be shown as a picture."""


@dataclass(frozen=True)
class ImageSubject:
    """Images with what is known of them; the same face as `hsi.views.subject.SceneSubject`.

    Attributes:
        inputs: (n, rows, cols, channels) as the network takes them.
        names: of the images: of their files, with the folders that tell them apart.
        photographs: (n, rows, cols, 3) uint8, or None for arrays.
        class_names: of the network's classes; empty where unknown.
        input_words: what an input value is, for a colour bar.
    """

    inputs: np.ndarray
    names: tuple[str, ...]
    photographs: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    input_words: str = "input"

    run = None
    synthetic = False
    reduced = False
    unit = "channel"
    wavelengths = None
    note = ""

    @property
    def name(self) -> str:
        return self.names[0] if len(self.names) == 1 else f"{len(self.names)} images"

    @property
    def numbers(self) -> np.ndarray:
        return np.arange(1, self.inputs.shape[-1] + 1)

    @property
    def classes(self) -> int | None:
        """How many classes have names; None where none has."""
        return len(self.class_names) or None

    def class_text(self, index: int) -> str:
        """Index and name of a class; -1 is unknown."""
        if index < 0:
            return "unknown"
        if not self.class_names:
            return f"class {index}"
        name = self.class_names[index]
        return name if name == str(index) else f"{index} {name}"

    def class_index(self, text: str) -> int:
        """The class of this index or name; whether the network has it shows later.

        Raises:
            SettingsError: no such name.
        """
        if text.isdigit() and (not self.class_names or int(text) < len(self.class_names)):
            return int(text)
        if text in self.class_names:
            return self.class_names.index(text)
        known = ", ".join(self.class_names[:8]) or "indices from 0 (name them by --class_names)"
        raise SettingsError(f"class: no class {text!r}; expected one of {known}.")

    def shown(self, keys: np.ndarray) -> np.ndarray:
        return self.inputs[keys]

    def own(self, keys: np.ndarray) -> np.ndarray:
        return self.inputs[keys]

    def true(self, keys: np.ndarray) -> np.ndarray:
        """(n,) of -1: nothing is known of it."""
        return np.full(len(keys), -1)

    def place(self, key: int) -> str:
        return self.names[key]

    def stem(self, key: int) -> str:
        name = self.names[key]
        return name_part(name if self.photographs is None else str(Path(name).with_suffix("")))

    def pictures(self, keys: np.ndarray) -> np.ndarray:
        """(n, rows, cols, 3) of 0..1, to be looked at."""
        if self.photographs is not None:
            return self.photographs[keys] / 255.0
        chosen = self.inputs[keys]
        low, high = chosen.min(), chosen.max()
        scaled = (chosen - low) / ((high - low) or 1.0)
        return np.broadcast_to(scaled, (*scaled.shape[:-1], 3))

    def check_model(self, path: Any, shape: tuple[int | None, ...], classes: int) -> None:
        """Refuse a network of other samples or of other classes (`ModelError`)."""
        got = self.inputs.shape[1:]
        if len(shape) != len(got) or any(
            s not in (None, g) for s, g in zip(shape, got, strict=True)
        ):
            raise ModelError(
                f"{path}: expected a network that takes samples of {sizes_text(got)}, "
                f"it takes {sizes_text(shape)}."
            )
        if self.classes not in (None, classes):
            raise ModelError(
                f"{path}: the model tells {classes} classes apart, --class_names has "
                f"{self.classes} lines."
            )


def open_image_subject(request: Request, found: Sequence[Located]) -> ImageSubject:
    """The images or the array of a request.

    Photographs are scaled, and classes called, as in the runs in whose folders the models lie,
    where the request does not say otherwise.

    Args:
        found: the models, of which the first that tells says how large a sample is.

    Raises:
        DataError: a file that is missing, damaged, or an image of another size.
        ModelError: a model that takes no photographs.
        SettingsError: an array that is not named among several; models of several scalings.
    """
    shape = next((item.input_shape for item in found if item.input_shape), None)
    runs = [data_run(item.run) for item in found if item.run]
    runs = [run for run in runs if run.settings.of_images]
    names = _class_names(request.class_names) or _names_of(runs)
    if request.array is not None:
        inputs = read_samples(request.array, 4 if shape is None else len(shape) + 1)
        stem = Path(request.array.rpartition(":")[0] or request.array).stem
        return ImageSubject(
            inputs, tuple(f"{stem} {i + 1}" for i in range(len(inputs))), None, names
        )
    if shape is not None and (len(shape) != 3 or shape[2] not in (None, *CHANNELS)):
        raise ModelError(
            f"{request.files[0]}: expected a model of photographs (rows x cols x 3), it takes "
            f"{sizes_text(shape)}."
        )
    rows, cols, channels = shape or (None, None, 3)
    images = [_fitting(path, rows, cols, resize=request.resize) for path in request.images]
    first = images[0].shape
    for path, image in zip(request.images, images, strict=True):
        if image.shape != first:
            raise DataError(
                f"{path}: is {sizes_text(image.shape[:2])} pixels, {request.images[0]} is "
                f"{sizes_text(first[:2])}; look at them one by one."
            )
    photographs = np.stack(images)
    scaling = _scaling(request, runs)
    grey = channels == 1
    if grey and len(scaling.mean) == 1:
        inputs = scaling.apply(photographs.mean(axis=-1, keepdims=True))
    else:
        inputs = scaling.apply(photographs)
        inputs = inputs.mean(axis=-1, keepdims=True) if grey else inputs
    return ImageSubject(
        inputs,
        tuple(telling_ends(request.images)),
        photographs,
        names,
        f"input ({SCALED.get(scaling.how, scaling.how)})",
    )


def _scaling(request: Request, runs: Sequence[Run]) -> ImageScaling:
    """How photographs become inputs: as asked for, as in training, or from 0 to 1."""
    if request.preprocess is not None:
        return ImageScaling(request.preprocess)
    known = [load_scaling(run.path(PREPARATION)) for run in runs]
    for run, scaling in zip(runs, known, strict=True):
        if scaling != known[0]:
            raise SettingsError(
                f"{run.folder}: its images are scaled otherwise than those of {runs[0].folder}; "
                "only variants of the same scaling take the same photograph."
            )
    return known[0] if known else ImageScaling("unit")


def _names_of(runs: Sequence[Run]) -> tuple[str, ...]:
    """The class names that runs have in common; none where they differ."""
    named = {tuple(str(entry["name"]) for entry in run.record.get("classes", ())) for run in runs}
    return named.pop() if len(named) == 1 else ()


def _fitting(path: str, rows: int | None, cols: int | None, *, resize: bool) -> np.ndarray:
    image = read_photograph(path)
    if all(want in (None, got) for want, got in zip((rows, cols), image.shape, strict=False)):
        return image
    if not resize:
        raise DataError(
            f"{path}: expected an image of {sizes_text((rows, cols))} pixels, as the model takes "
            f"them, got {sizes_text(image.shape[:2])}; --resize fits it."
        )
    return fitted(image, rows or image.shape[0], cols or image.shape[1])


def _class_names(file: str | None) -> tuple[str, ...]:
    """A name a line."""
    if file is None:
        return ()
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: expected a text file with a class name a line.") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise DataError(f"{file}: expected a class name a line, it has none.")
    return names
