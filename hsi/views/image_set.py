"""The images of a set, as a network was trained on them: a subject of looks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hsi.deploy.variant import sizes_text
from hsi.errors import ModelError, SettingsError
from hsi.image_sets import ImageSamples, image_set_name
from hsi.pipeline.job import data_run, samples_of
from hsi.runs import Run
from hsi.samples import open_images
from hsi.settings import Settings, check_dataset
from hsi.views.locate import Located
from hsi.views.request import Request
from hsi.views.subject import SCALED, Say


@dataclass(frozen=True)
class ImageSetSubject:
    """Images of a set with what is known of them; the face of `hsi.views.subject.SceneSubject`.

    Attributes:
        run: that the samples come from, or None.
        samples: images, division and scaling; keys of samples are numbers of images.
    """

    run: Run | None
    samples: ImageSamples

    space = "bands"
    synthetic = False
    reduced = False
    unit = "channel"
    wavelengths = None

    @property
    def name(self) -> str:
        return self.samples.name

    @property
    def numbers(self) -> np.ndarray:
        return np.arange(1, self.samples.images.shape[2] + 1)

    @property
    def input_words(self) -> str:
        """What an input value is, for a colour bar."""
        how = self.samples.scaling.how
        return f"{SCALED.get(how, how)} input"

    @property
    def note(self) -> str:
        return f"{self.samples.note}."

    @property
    def classes(self) -> int:
        return self.samples.classes

    @property
    def class_numbers(self) -> np.ndarray:
        """(classes,) published numbers."""
        return np.array([*self.samples.class_names])

    def class_text(self, index: int) -> str:
        """Number and name of a class index; the name alone where that is the number."""
        number, name = list(self.samples.class_names.items())[index]
        return name if name == str(number) else f"{number} {name}"

    def class_index(self, text: str) -> int:
        """Index of the class of this published number, name, or key of the files.

        Raises:
            SettingsError: no such class.
        """
        known = self.samples.class_names
        for words in (map(str, known), map(str.casefold, known.values()), self.samples.keys):
            listed = list(words)
            for form in (text, text.casefold()):
                if form in listed:
                    return listed.index(form)
        shown = ", ".join(self.class_text(i) for i in range(min(10, self.classes)))
        more = ", ..." if self.classes > 10 else ""
        raise SettingsError(f"class: {self.name} has no class {text!r}; it has {shown}{more}.")

    def shown(self, keys: np.ndarray) -> np.ndarray:
        """(n, rows, cols, channels) as the network takes them."""
        return self.samples.images.gather(keys)

    def own(self, keys: np.ndarray) -> np.ndarray:
        return self.shown(keys)

    def true(self, keys: np.ndarray) -> np.ndarray:
        """(n,) class indices."""
        return self._classes[keys]

    @cached_property
    def _classes(self) -> np.ndarray:
        found = np.full(len(self.samples.images), -1)
        for part in self.samples.parts.values():
            found[part.pixels] = part.classes
        return found

    def place(self, key: int) -> str:
        """A sample in words: its number, and its part."""
        names = {"train": "training"}
        part = next((n for n, p in self.samples.parts.items() if key in p.pixels), "no part")
        return f"image {key} ({names.get(part, part)})"

    def stem(self, key: int) -> str:
        return f"image_{key}"

    def pictures(self, keys: np.ndarray) -> np.ndarray:
        """(n, rows, cols, 3) of 0..1, to be looked at."""
        found = self.samples.images.decoded(keys) / 255.0
        return np.broadcast_to(found, (*found.shape[:-1], 3))

    def means(self, seed: int) -> np.ndarray:
        """(channels,) mean over some training images."""
        found = self.samples.calibration(seed=seed).mean(axis=(0, 1, 2), dtype=np.float64)
        return found.astype(np.float32)

    def made_for(self) -> dict[str, Any]:
        """What variants must share to be compared."""
        samples = self.samples
        return {
            "image set": samples.name,
            "size": samples.images.shape,
            "hash of the data": samples.sha256,
            "classes": tuple(samples.class_names),
            "scaling": samples.scaling,
        }

    def check_model(self, path: Any, shape: tuple[int | None, ...], classes: int) -> None:
        """Refuse a network of other images or of other classes (`ModelError`)."""
        wanted = self.samples.images.shape
        if len(shape) != 3 or any(s not in (None, w) for s, w in zip(shape, wanted, strict=True)):
            raise ModelError(
                f"{path}: expected a network that takes images of {sizes_text(wanted)}, it takes "
                f"{sizes_text(shape)}."
            )
        if classes != self.classes:
            raise ModelError(
                f"{path}: the model tells {classes} classes apart, {self.name} has {self.classes}."
            )


def is_of_images(request: Request, located: Located) -> bool:
    """Whether a model file was made for a set of images, as its run or the options say.

    Raises:
        SettingsError: no such data set.
    """
    if located.run is not None:
        return data_run(located.run).settings.of_images
    spec = request.data.get("dataset")
    if spec is None:
        return False
    check_dataset(spec)
    return image_set_name(spec) is not None


def open_image_set_subject(request: Request, located: Located, *, say: Say) -> ImageSetSubject:
    """The images that a model was made for; loads no TensorFlow.

    Raises:
        UserError: as of `hsi.views.subject.open_scene_subject`.
    """
    if located.run is not None:
        samples = samples_of(located.run, say=say)
        assert isinstance(samples, ImageSamples)
        subject = ImageSetSubject(located.run, samples)
    else:
        subject = ImageSetSubject(None, _without_run(request, located, say))
    if located.input_shape is not None:
        subject.check_model(located.path, located.input_shape, subject.classes)
    return subject


def _without_run(request: Request, located: Located, say: Say) -> ImageSamples:
    given: dict[str, Any] = dict(request.data)
    settings = Settings(model=request.model or "vgg16", seed=request.seed, **given).check()
    shape = located.input_shape
    side = shape[0] if shape else None
    samples = open_images(
        settings, size=settings.image_size or side, preprocess=settings.scaling, say=say
    )
    say(
        f"Note: no run.json beside {located.path}: images are scaled as --scaling "
        f"{settings.scaling} says; that may differ from the model's training."
    )
    return samples
