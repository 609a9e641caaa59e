"""A sheet of misclassified samples: what the network was surest of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi.errors import SettingsError
from hsi.explain.misclassified import misclassified
from hsi.patches import Patches
from hsi.predict import batches
from hsi.views import draw
from hsi.views.attributed import channel_means
from hsi.views.look import Look
from hsi.views.subject import SceneSubject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 1024
FALSE_COLOUR = (860.0, 650.0, 550.0)
"""Near infrared, red and green in nm, shown as red, green and blue: vegetation is red."""
STRETCH = (2, 98)
"""Percentiles of the scene that are drawn black and white."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """Misclassified pixels, and what they are compared with.

    Attributes:
        pictures: (n, patch, patch, 3) of 0..1.
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
    """One figure of test pixels, or one file of arrays."""
    request, subject = look.request, look.subject
    if not isinstance(subject, SceneSubject):
        raise SettingsError(
            "misclassified: the true classes of images are not known; expected a scene."
        )
    test = subject.samples.part("test")
    logits = np.concatenate(
        [look.first.own.logits(subject.own(keys)) for keys in batches(test.pixels, BATCH)]
    )
    predicted = logits.argmax(axis=1)
    if request.klass is not None:
        of_class = test.classes == subject.class_index(request.klass)
        predicted = np.where(of_class, predicted, test.classes)
    wrong = int((predicted != test.classes).sum())
    look.say(f"{wrong} of {len(predicted)} test pixels are misclassified.")
    if not wrong:
        raise SettingsError("misclassified: every test pixel looked at is classified rightly.")
    scores = np.take_along_axis(logits, predicted[:, None], axis=1)[:, 0]
    some = misclassified(predicted, test.classes, scores, count=request.count, seed=request.seed)
    keys = test.pixels[some]
    if request.format == "npz":
        numbers = subject.class_numbers
        arrays = {
            "inputs": subject.shown(keys),
            "pixels": np.stack(np.divmod(keys, subject.scene.cols), axis=1),
            "true_classes": numbers[test.classes[some]],
            "predicted_classes": numbers[predicted[some]],
            "scores": scores[some],
        }
        return [look.output.arrays(arrays)]
    true = test.classes[some]
    pictures, words = _pictures(subject, keys)
    sheet = Sheet(
        pictures, words, true, predicted[some], scores[some],
        np.take_along_axis(logits[some], true[:, None], axis=1)[:, 0],
        _class_means(subject, {*map(int, true), *map(int, predicted[some])}), wrong,
    )  # fmt: skip
    return [look.write_figure(_draw(look, keys, sheet), request.stem)]


def _class_means(subject: SceneSubject, wanted: set[int]) -> dict[int, np.ndarray]:
    """(channels,) mean over the training pixels of each class, of what is shown."""
    train = subject.samples.part("train")
    found = {}
    for index in sorted(wanted):
        pixels = train.pixels[train.classes == index]
        if len(pixels):
            found[index] = channel_means(subject.patches, pixels)
    return found


def _pictures(subject: SceneSubject, keys: np.ndarray) -> tuple[np.ndarray, str]:
    """Three bands of the sensor's counts as red, green and blue, stretched over the scene."""
    scene = subject.scene
    if scene.wavelengths is None:
        chosen = np.linspace(scene.bands - 1, 0, 3).round().astype(int)
        words = f"bands {', '.join(map(str, scene.sensor_bands()[chosen]))}"
    else:
        chosen = np.array([np.nanargmin(np.abs(scene.wavelengths - nm)) for nm in FALSE_COLOUR])
        words = f"{', '.join(f'{scene.wavelengths[i]:.0f}' for i in chosen)} nm"
    three = np.asarray(scene.cube[:, :, chosen], np.float32)
    low, high = np.percentile(three, STRETCH, axis=(0, 1))
    scaled = np.clip((three - low) / np.maximum(high - low, 1e-12), 0, 1)
    patches = Patches(scaled, subject.samples.patches.patch_size)
    return patches.gather(keys), f"Red, green and blue of the patches: {words}."


def _draw(look: Look, keys: np.ndarray, sheet: Sheet) -> Figure:
    """Misclassified pixels, each with its spectrum between those of both classes."""
    from hsi.plots.misclassified import misclassified_patches

    subject = look.subject
    assert isinstance(subject, SceneSubject)
    inputs = subject.shown(keys)
    half = inputs.shape[1] // 2
    numbers = subject.class_numbers
    return misclassified_patches(
        sheet.pictures,
        inputs[:, half, half],
        {int(numbers[index]): spectrum for index, spectrum in sheet.class_means.items()},
        numbers[sheet.true],
        numbers[sheet.predicted],
        subject.scene.class_names,
        scores=sheet.scores,
        true_scores=sheet.true_scores,
        score_word=look.chosen.score_word,
        places=[subject.place(int(key)) for key in keys],
        total=sheet.total,
        **draw.axis_of(subject),
        spectrum_label=subject.input_words,
        patch_label=sheet.picture_words,
        title=draw.title(look),
        synthetic=subject.synthetic,
        note=subject.note,
    )
