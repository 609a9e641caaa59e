"""Images on the page: thumbnails, what every variant answers, and where it looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from hsi.parts import Part
from hsi.predict import scores
from hsi.progress import progress
from hsi.report.explained import (
    Explained,
    explain_variants,
    method_facts,
    parting,
    say_reasons,
    spread_over_classes,
)
from hsi.report.packed import Block, pack
from hsi.views.image_set import ImageSetSubject
from hsi.views.opened import Opened

METHODS = ("gradcam", "gradient")
SAMPLES = 12
"""Test images that are explained, of which a quarter are such on which variants part."""
ANSWERED = 1000
"""Test images that every variant answers, drawn evenly: enough to find those where they part."""
SHOWN = 24
"""Images on which variants part that are shown, at most."""
SIDE = 112
"""Longer side of a thumbnail, in pixels, at most."""
MEASURE = "spearman"
"""Of maps over the pixels of an image; see `hsi.compare.attributions`."""


def picture_part(
    opened: Sequence[Opened],
    *,
    methods: Sequence[str],
    samples: int | None,
    seed: int,
    say: Callable[[str], None],
) -> tuple[dict[str, Any], list[Block]]:
    """Facts and arrays of images, for the page."""
    subject = opened[0].subject
    assert isinstance(subject, ImageSetSubject)
    part = _drawn(subject.samples.part("test"), seed=seed)
    predicted, sure = _answers(opened, subject, part)
    count = samples or SAMPLES
    parted = parting(predicted, count=SHOWN)
    chosen = parted[: count // 4]
    rest = count - len(chosen)
    spread = spread_over_classes(part, subject.classes, count=rest, seed=seed)
    places = np.concatenate([np.setdiff1d(spread, chosen), chosen])
    keys = part.pixels[places]
    classes = predicted[0][places].astype(int)
    found = [
        explain_variants(
            opened, method, keys, classes, reduce=_over_pixels, per_band=False, seed=seed
        )
        for method in methods or METHODS
    ]
    say_reasons(found, opened, say=say)
    found = explaining(found)
    shown = np.concatenate([places, np.setdiff1d(parted, places)])
    thumbnails = _thumbnails(subject, part.pixels[shown])
    blocks = [
        pack("thumbnails", thumbnails),
        pack("predicted", predicted[:, shown].astype(np.uint16)),
        pack("sure", sure[:, shown]),
        *(block for item in found for block in overlay_blocks(item)),
    ]
    return {
        "height": thumbnails.shape[1],
        "width": thumbnails.shape[2],
        "images": [
            {"key": int(part.pixels[place]), "truth": int(part.classes[place])} for place in shown
        ],
        "explained": len(places),
        "answered": len(part.pixels),
        "of": len(subject.samples.part("test").pixels),
        "parted": int((predicted != predicted[0]).any(axis=0).sum()),
        "partedFrom": [int((row != predicted[0]).sum()) for row in predicted],
        "methods": [method_facts(item, MEASURE) for item in found],
    }, blocks


def _drawn(test: Part, *, seed: int) -> Part:
    chosen = np.sort(np.random.default_rng(seed).permutation(len(test.pixels))[:ANSWERED])
    return Part(test.pixels[chosen], test.classes[chosen])


def _answers(
    opened: Sequence[Opened], subject: ImageSetSubject, part: Part
) -> tuple[np.ndarray, np.ndarray]:
    """(variants, n) class indices, and the largest scores of 255."""
    predicted = np.empty((len(opened), len(part.pixels)), np.int64)
    sure = np.empty(predicted.shape, np.uint8)
    with progress("answers", len(opened)) as advance:
        for place, item in enumerate(opened):
            found = scores(item.variant, subject.samples.patches, part.pixels)
            predicted[place] = found.argmax(axis=1)
            sure[place] = np.round(255 * found.max(axis=1).clip(0, 1))
            advance(place + 1, item.label)
    return predicted, sure


def _over_pixels(maps: np.ndarray) -> np.ndarray:
    """(n, rows, cols, channels) -> (n, rows, cols): the mean over the channels."""
    return maps.mean(axis=-1)


def _thumbnails(subject: ImageSetSubject, keys: np.ndarray) -> np.ndarray:
    """(n, height, width, 3) uint8, as large as the images or smaller."""
    pictures = np.round(255 * subject.pictures(keys)).astype(np.uint8)
    rows, cols = pictures.shape[1:3]
    scale = min(1.0, SIDE / max(rows, cols))
    if scale == 1:
        return pictures
    size = (max(1, round(cols * scale)), max(1, round(rows * scale)))
    return np.stack([np.asarray(Image.fromarray(p).resize(size)) for p in pictures])


def explaining(found: Sequence[Explained]) -> list[Explained]:
    """The methods that explain a variant or more; where none does, the first, with its reasons."""
    some = [item for item in found if any(maps is not None for maps in item.maps)]
    return some or list(found[:1])


def overlay_blocks(found: Explained) -> list[Block]:
    """(variants, n, height, width) int8: of 127 the largest magnitude; none without any map.

    Maps in units of the logit are on one scale for all variants of an image; of those without a
    unit each has a scale of its own, since only their form says anything.
    """
    shape = next((maps.shape for maps in found.maps if maps is not None), None)
    if shape is None:
        return []
    values = np.stack([np.zeros(shape, np.float32) if m is None else m for m in found.maps])
    small = np.stack([[_smaller(image) for image in maps] for maps in values])
    axes = (2, 3) if found.quantity == "relevance" else (0, 2, 3)
    largest = np.abs(small).max(axis=axes, keepdims=True)
    numbers = np.round(127 * small / np.where(largest > 0, largest, 1)).astype(np.int8)
    return [pack(f"attribution_{found.method}", numbers)]


def _smaller(image: np.ndarray) -> np.ndarray:
    rows, cols = image.shape
    scale = min(1.0, SIDE / max(rows, cols))
    if scale == 1:
        return image
    size = (max(1, round(cols * scale)), max(1, round(rows * scale)))
    return np.asarray(Image.fromarray(image, "F").resize(size))
