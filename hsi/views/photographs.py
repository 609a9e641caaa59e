"""Samples that come from files of their own: photographs, and arrays as a network takes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsi.deploy.variant import sizes_text
from hsi.errors import DataError, ModelError, SettingsError
from hsi.images import fitted, preprocess, read_photograph, read_samples
from hsi.views.request import Request

CHANNELS = (1, 3)
"""Of what can be shown as a picture."""


@dataclass(frozen=True)
class ImageSubject:
    """Images with what is known of them; the same face as `hsi.views.subject.SceneSubject`.

    Attributes:
        inputs: (n, rows, cols, channels) as the network takes them.
        names: of the images.
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
    unit = "band"
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
        return f"{index} {self.class_names[index]}" if self.class_names else f"class {index}"

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
        return Path(self.names[key]).stem.replace(" ", "_")

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


def open_image_subject(request: Request, shape: tuple[int | None, ...] | None) -> ImageSubject:
    """The images or the array of a request.

    Args:
        shape: of a sample, as the first model takes it; None where its file does not tell.

    Raises:
        DataError: a file that is missing, damaged, or an image of another size.
        ModelError: a model that takes no photographs.
        SettingsError: an array that is not named among several.
    """
    names = _class_names(request.class_names)
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
    inputs = preprocess(photographs, request.preprocess)
    if channels == 1:
        inputs = inputs.mean(axis=-1, keepdims=True)
    return ImageSubject(
        inputs,
        tuple(Path(path).name for path in request.images),
        photographs,
        names,
        f"input ({request.preprocess})",
    )


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
