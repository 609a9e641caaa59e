"""Which samples are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from hsi.errors import SettingsError
from hsi.parts import AnySamples
from hsi.samples import Samples
from hsi.views.photographs import ImageSubject

CANDIDATES = 128
"""Test samples of a class that are tried at most, in search of one that is classified rightly."""


@dataclass(frozen=True)
class Chosen:
    """Samples with what is known and predicted of them.

    Attributes:
        keys: (n,) flat pixel numbers, row * cols + col; or the numbers of images.
        inputs: (n, rows, cols, channels) float32, as the network takes them.
        true: (n,) class index, -1 where unknown.
        predicted: (n,) class index.
        explained: (n,) class index whose score is shown.
        scores: (n,) of the explained class.
        score_word: what they are: "logit", or "output" where no softmax could be looked through.
        notes: a sentence each.
    """

    keys: np.ndarray
    inputs: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    explained: np.ndarray
    scores: np.ndarray
    score_word: str = "logit"
    notes: tuple[str, ...] = ()


def check_pixels(samples: Samples, pixels: Sequence[tuple[int, int]]) -> None:
    """Refuse pixels off the scene, and those without data (`SettingsError`)."""
    rows, cols, held = samples.scene.rows, samples.scene.cols, samples.scene.has_data
    for row, col in pixels:
        if not (0 <= row < rows and 0 <= col < cols):
            raise SettingsError(
                f"pixel {row},{col}: off the scene; expected rows 0 to {rows - 1} "
                f"and columns 0 to {cols - 1}."
            )
        if not held[row, col]:
            raise SettingsError(
                f"pixel {row},{col}: holds no data, so there is nothing to explain; name another."
            )


def choose(
    model: Any,
    samples: AnySamples,
    *,
    pixels: Sequence[tuple[int, int]],
    count: int,
    klass: int | None,
    seed: int,
    batch_size: int | None,
) -> Chosen:
    """The pixels asked for, else rightly classified test samples spread over the classes.

    Args:
        model: the network, or its score.
        samples: of its scene, or its images.
        pixels: (row, col) from 0, of a scene; empty to choose.
        count: how many to choose.
        klass: class index that is explained, and of which samples are chosen; None explains the
            predicted class of samples of all classes in turn.
        seed: of the choice.
        batch_size: most rows that pass through the network at once.

    Raises:
        SettingsError: a pixel off the scene or without data, or no test sample to choose from.
    """
    notes: tuple[str, ...] = ()
    if pixels and isinstance(samples, Samples):
        check_pixels(samples, pixels)
        cols = samples.scene.cols
        places = np.array(list(dict.fromkeys(row * cols + col for row, col in pixels)))
        true = samples.scene.class_indices().ravel()[places]
    else:
        places, notes = _spread(model, samples, count, klass, seed, batch_size)
        test = samples.part("test")
        true = test.classes[np.searchsorted(test.pixels, places)]
    inputs = samples.patches.gather(places)
    return _explained(model, places, inputs, true, klass, batch_size, notes)


def choose_images(
    model: Any,
    subject: ImageSubject,
    *,
    count: int | None,
    klass: int | None,
    batch_size: int | None,
) -> Chosen:
    """The first images, all of them where `count` is None; arguments as of `choose`."""
    keys = np.arange(len(subject.inputs))[:count]
    return _explained(model, keys, subject.own(keys), subject.true(keys), klass, batch_size, ())


def _explained(
    model: Any,
    keys: np.ndarray,
    inputs: np.ndarray,
    true: np.ndarray,
    klass: int | None,
    batch_size: int | None,
    notes: tuple[str, ...],
) -> Chosen:
    from hsi.explain.score import score_of

    predicted, scores = predict(model, inputs, None, batch_size=batch_size)
    explained = predicted
    if klass is not None:
        explained, scores = predict(model, inputs, klass, batch_size=batch_size)
    word = score_of(model).word
    return Chosen(keys, inputs, true, predicted, explained, scores, word, notes)


def predict(
    model: Any, inputs: np.ndarray, klass: int | None, *, batch_size: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Class indices (n,), the predicted ones for None, and their logits (n,)."""
    from hsi.explain.score import chosen_classes, score_of

    score = score_of(model)
    return chosen_classes(score, score.prepare(inputs), klass, batch_size=batch_size)


def pixels_of_class(samples: Samples, klass: int, *, count: int, seed: int) -> np.ndarray:
    """At most `count` test pixels of a class, drawn evenly: (n,) flat pixel numbers."""
    test = samples.part("test")
    own = test.pixels[test.classes == klass]
    return np.sort(np.random.default_rng(seed).permutation(own)[:count])


def _spread(
    model: Any,
    samples: AnySamples,
    count: int,
    klass: int | None,
    seed: int,
    batch_size: int | None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Keys of `count` test samples, the classes taking turns in an order of the seed."""
    test = samples.part("test")
    rng = np.random.default_rng(seed)
    wanted = np.unique(test.classes) if klass is None else np.array([klass])
    order = rng.permutation(wanted)
    tried = []
    for index in order:
        own = test.pixels[test.classes == index]
        tried.append(rng.permutation(own)[: max(CANDIDATES, count)])
    if not sum(map(len, tried)):
        raise SettingsError(
            f"samples: this split has no test {samples.unit}"
            + ("" if klass is None else " of the class")
            + ("; name pixels with --pixel row,col." if samples.unit == "pixel" else ".")
        )
    right: list[np.ndarray] = []
    for index, own in zip(order, tried, strict=True):
        if sum(len(group) > 0 for group in right) >= count:
            break  # one of each of these classes is all that is shown
        predicted, _ = predict(model, samples.patches.gather(own), None, batch_size=batch_size)
        right.append(own[predicted == index])
    found = _in_turn(right)[:count]
    if len(found):
        few = f"only {len(found)} rightly classified test {samples.unit}s were found"
        return found, (few,) if len(found) < count else ()
    return _in_turn(tried)[:count], (
        f"no test {samples.unit} that was tried is classified rightly",
    )


def _in_turn(groups: Sequence[np.ndarray]) -> np.ndarray:
    """The first of each group, then the second of each, and so on."""
    rounds = zip_longest(*(group.tolist() for group in groups))
    return np.array([p for turn in rounds for p in turn if p is not None], np.int64)
