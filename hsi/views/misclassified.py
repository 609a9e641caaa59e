"""A sheet of misclassified samples: what the network was surest of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.composite import FALSE_COLOUR, composite, composite_bands
from hsi.errors import SettingsError
from hsi.explain.attribution import rows_at_once
from hsi.explain.misclassified import misclassified
from hsi.patches import Patches
from hsi.predict import batches
from hsi.views import draw
from hsi.views.attributed import channel_means
from hsi.views.image_set import ImageSetSubject
from hsi.views.look import Look
from hsi.views.photographs import ImageSubject
from hsi.views.subject import SceneSubject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Known = SceneSubject | ImageSetSubject
"""Samples whose classes are known."""

BATCH = 1024
"""Patches at once."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """Misclassified samples, and what they are compared with.

    Attributes:
        pictures: (n, rows, cols, 3) of 0..1.
        picture_words: what their colours are.
        true, predicted: (n,) class indices.
        scores, true_scores: (n,) of the predicted and of the true class.
        class_means: class index -> (channels,) mean of its training pixels.
        total: how many are misclassified in all.
    """

    pictures: np.ndarray
    picture_words: str
    true: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray
    true_scores: np.ndarray
    class_means: Mapping[int, np.ndarray]
    total: int


def show(look: Look) -> list[Path]:
    """One figure of test samples, or one file of arrays."""
    request, subject = look.request, look.subject
    if isinstance(subject, ImageSubject):
        raise SettingsError(
            "misclassified: the true classes of these images are not known; expected a model with "
            "its run, or --dataset."
        )
    test, unit = subject.samples.part("test"), subject.samples.unit
    shape = subject.samples.patches.shape
    size = BATCH if isinstance(subject, SceneSubject) else rows_at_once(shape, request.batch_size)
    logits = np.concatenate(
        [look.first.own.logits(subject.own(keys)) for keys in batches(test.pixels, size)]
    )
    predicted, looked_at, of_class = logits.argmax(axis=1), len(logits), ""
    if request.klass is not None:
        index = subject.class_index(request.klass)
        own = test.classes == index
        predicted = np.where(own, predicted, test.classes)
        looked_at, of_class = int(np.count_nonzero(own)), f" of class {subject.class_text(index)}"
    wrong = int((predicted != test.classes).sum())
    look.say(f"{wrong} of {looked_at} test {unit}s{of_class} are misclassified.")
    if not wrong:
        raise SettingsError(f"misclassified: every test {unit} looked at is classified rightly.")
    scores = np.take_along_axis(logits, predicted[:, None], axis=1)[:, 0]
    some = misclassified(predicted, test.classes, scores, count=request.count, seed=request.seed)
    keys = test.pixels[some]
    if request.format == "npz":
        numbers = subject.class_numbers
        arrays = {
            "inputs": subject.shown(keys),
            **_places(subject, keys),
            "true_classes": numbers[test.classes[some]],
            "predicted_classes": numbers[predicted[some]],
            "scores": scores[some],
        }
        return [look.output.arrays(arrays)]
    true = test.classes[some]
    true_scores = np.take_along_axis(logits[some], true[:, None], axis=1)[:, 0]
    sheet = Sheet(
        *_pictures(subject, keys), true, predicted[some], scores[some], true_scores,
        _class_means(subject, {*map(int, true), *map(int, predicted[some])}), wrong,
    )  # fmt: skip
    return [look.write_figure(_draw(look, keys, sheet), request.stem)]


def _places(subject: Known, keys: np.ndarray) -> dict[str, np.ndarray]:
    """Where samples are: rows and columns of a scene, or numbers of images."""
    if isinstance(subject, SceneSubject):
        return {"pixels": np.stack(np.divmod(keys, subject.scene.cols), axis=1)}
    return {"images": keys}


def _class_means(subject: Known, wanted: set[int]) -> dict[int, np.ndarray]:
    """(channels,) mean over the training pixels of each class, of what is shown; of images none."""
    if not isinstance(subject, SceneSubject):
        return {}
    train = subject.samples.part("train")
    found = {}
    for index in sorted(wanted):
        pixels = train.pixels[train.classes == index]
        if len(pixels):
            found[index] = channel_means(subject.patches, pixels)
    return found


def _pictures(subject: Known, keys: np.ndarray) -> tuple[np.ndarray, str]:
    """Images; or three bands of the sensor's counts as red, green and blue, stretched over the
    scene."""
    if not isinstance(subject, SceneSubject):
        return subject.pictures(keys), ""
    scene = subject.scene
    chosen = composite_bands(scene, FALSE_COLOUR)
    if scene.wavelengths is None:
        words = f"bands {', '.join(map(str, scene.sensor_bands()[chosen]))}"
    else:
        words = f"{', '.join(f'{scene.wavelengths[i]:.0f}' for i in chosen)} nm"
    patches = Patches(composite(scene, FALSE_COLOUR), subject.samples.patches.patch_size)
    return patches.gather(keys), f"Red, green and blue of the patches: {words}."


def _draw(look: Look, keys: np.ndarray, sheet: Sheet) -> Figure:
    """Misclassified samples; pixels each with a spectrum between those of both classes."""
    from hsi.plots.misclassified import misclassified_patches, misclassified_photographs

    subject = look.subject
    assert not isinstance(subject, ImageSubject)
    numbers = subject.class_numbers
    true, predicted = numbers[sheet.true], numbers[sheet.predicted]
    names = subject.samples.class_names
    common: dict[str, Any] = {
        "scores": sheet.scores,
        "true_scores": sheet.true_scores,
        "score_word": look.chosen.score_word,
        "places": [subject.place(int(key)) for key in keys],
        "total": sheet.total,
        "title": draw.title(look),
        "synthetic": subject.synthetic,
        "note": subject.note,
    }
    if not isinstance(subject, SceneSubject):
        return misclassified_photographs(sheet.pictures, true, predicted, names, **common)
    inputs = subject.shown(keys)
    half = inputs.shape[1] // 2
    return misclassified_patches(
        sheet.pictures,
        inputs[:, half, half],
        {int(numbers[index]): spectrum for index, spectrum in sheet.class_means.items()},
        true,
        predicted,
        names,
        **draw.axis_of(subject),
        spectrum_label=subject.input_words,
        patch_label=sheet.picture_words,
        **common,
    )
