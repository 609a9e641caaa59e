"""A scene on the page: the map of every variant, spectra of all pixels, attributions of some.

Predictions are made for every pixel, borders included. Attributions are made for test pixels of
all classes and for those on which variants part; a click elsewhere shows the nearest of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsi.compare.means import scene_blocks
from hsi.composite import TRUE_COLOUR, composite
from hsi.explain.spectra import pixel_sums
from hsi.pipeline.job import data_run
from hsi.predict import scene_scores
from hsi.progress import progress
from hsi.report.explained import (
    Explained,
    attention,
    explain_variants,
    method_facts,
    parting,
    say_reasons,
    spread_over_classes,
)
from hsi.report.packed import Block, pack, to_bytes
from hsi.scene import Scene
from hsi.views.opened import Opened
from hsi.views.subject import SceneSubject

METHODS = ("integrated_gradient", "gradient")
SAMPLES = 72
"""Test pixels of all classes that are explained."""
PARTING = 24
"""Pixels on which variants part that are explained as well, at most."""
MEASURE = "cosine"
"""Of attributions over wavelength; see `hsi.compare.attributions`."""

NO_DATA = 255
"""Stands in the page's maps for the class of a pixel without data; classes are 0 to 254."""
FINE, MOST = 1_500_000, 5_000_000
"""Values of all spectra up to which they have 16 bits, and 8; of larger scenes every second, third
... pixel of rows and columns is taken."""
BEYOND = 0.02
"""Percent of the values of a band on either side that do not count for its scale: single values
far out (see REFERENCE, Salinas-A) would leave a few steps for all others."""


@dataclass(frozen=True, eq=False)
class SceneMaps:
    """What the variants answer at every pixel.

    Attributes:
        predicted: (variants, rows, cols) uint8 class indices, `NO_DATA` where there is none.
        sure: (variants, rows, cols) uint8, the largest score of 255; None where scores are no
            probabilities.
    """

    predicted: np.ndarray
    sure: np.ndarray | None


def scene_part(
    opened: Sequence[Opened],
    *,
    methods: Sequence[str],
    samples: int | None,
    seed: int,
    say: Callable[[str], None],
) -> tuple[dict[str, Any], list[Block]]:
    """Facts and arrays of a scene, for the page."""
    subject = opened[0].subject
    assert isinstance(subject, SceneSubject)
    maps = predicted_maps(opened, subject, seed=seed)
    keys = explained_pixels(subject, maps.predicted, count=samples or SAMPLES, seed=seed)
    classes = maps.predicted[0].ravel()[keys].astype(int)
    known = _wavelengths(subject)
    waves = None if known is None else np.asarray(known)
    found = [
        explain_variants(
            opened,
            method,
            keys,
            classes,
            reduce=pixel_sums,
            per_band=True,
            waves=waves,
            seed=seed,
        )
        for method in methods or METHODS
    ]
    say_reasons(found, opened, say=say)
    spectra, facts = packed_spectra(subject.scene)
    blocks = [
        pack("predicted", maps.predicted),
        *([] if maps.sure is None else [pack("sure", maps.sure)]),
        pack("truth", (subject.scene.class_indices() + 1).astype(np.uint8)),
        pack("parts", _parts(subject)),
        pack("colour", np.round(255 * composite(subject.scene, TRUE_COLOUR)).astype(np.uint8)),
        *spectra,
        *(block for item in found for block in _attribution_blocks(item)),
    ]
    return {
        "rows": subject.scene.rows,
        "cols": subject.scene.cols,
        **facts,
        "wavelengths": known,
        "bands": [int(band) for band in subject.numbers],
        "explained": [int(key) for key in keys],
        "explainedClass": [int(index) for index in classes],
        "methods": [method_facts(item, MEASURE) for item in found],
        **_attention(found[0], keys, subject, seed=seed),
    }, blocks


def _attention(
    found: Explained, keys: np.ndarray, subject: SceneSubject, *, seed: int
) -> dict[str, Any]:
    """Where each variant looks, with intervals as `python -m hsi compare` has them, and a note."""
    if not found.centres or found.centres[0] is None or subject.run is None:
        return {}
    side = data_run(subject.run).settings.block_size
    blocks = scene_blocks(keys, (subject.scene.rows, subject.scene.cols), side=side)
    note = (
        f"Where the attention goes: 95 % intervals by redrawing {len(np.unique(blocks))} blocks of "
        f"{side} x {side} pixels of the scene, since neighbouring pixels are alike."
    )
    return {"attention": attention(found, blocks=blocks, seed=seed), "notes": [note]}


def predicted_maps(opened: Sequence[Opened], subject: SceneSubject, *, seed: int) -> SceneMaps:
    """Class and largest score of every pixel that holds data, by every variant."""
    shape = (len(opened), subject.scene.rows, subject.scene.cols)
    predicted, sure = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    probable = True
    with progress("class maps", len(opened)) as advance:
        for place, item in enumerate(opened):
            assert isinstance(item.subject, SceneSubject)
            patches = item.subject.samples.patches
            for strip, scores in scene_scores(item.variant, patches, seed=seed):
                predicted[place][strip.place] = scores.argmax(axis=-1)
                sure[place][strip.place] = np.round(255 * scores.max(axis=-1).clip(0, 1))
                probable &= _probabilities(scores)
            advance(place + 1, item.label)
    empty = ~subject.scene.has_data
    predicted[:, empty], sure[:, empty] = NO_DATA, 0
    return SceneMaps(predicted, sure if probable else None)


def explained_pixels(
    subject: SceneSubject, predicted: np.ndarray, *, count: int, seed: int
) -> np.ndarray:
    """Flat pixel numbers (n,) that are explained: of all classes, and where variants part."""
    test = subject.samples.part("test")
    places = spread_over_classes(test, subject.classes, count=count, seed=seed)
    answers = predicted.reshape(len(predicted), -1)[:, test.pixels]
    places = np.union1d(places, parting(answers, count=min(PARTING, count)))
    return test.pixels[places]


def packed_spectra(scene: Scene) -> tuple[list[Block], dict[str, Any]]:
    """The sensor's counts of all pixels, or of a grid of them: blocks and what they are.

    Pixels without data have no say in the scale and are 0 on it; the page shows none of them.
    """
    stride = 1
    while -(-scene.rows // stride) * -(-scene.cols // stride) * scene.bands > MOST:
        stride += 1
    cube = np.asarray(scene.cube[::stride, ::stride], np.float32)
    held = scene.has_data[::stride, ::stride]
    low, high = np.percentile(cube[held], (BEYOND, 100 - BEYOND), axis=0)
    cube = np.where(held[..., None], np.clip(cube, low, high), low)
    bands = cube.transpose(2, 0, 1).reshape(scene.bands, -1)
    numbers, scale = to_bytes(bands, axis=1, levels=65535 if cube.size <= FINE else 255)
    words = "16 bits" if cube.size <= FINE else "8 bits"
    facts = {"stride": stride, "gridCols": cube.shape[1], "spectrumBits": words}
    return [pack("spectra", numbers, differences=True), pack("spectraScale", scale)], facts


def _attribution_blocks(found: Explained) -> list[Block]:
    """(variants, n, bands) as 16-bit numbers, each spectrum on a scale of its own."""
    shape = next((maps.shape for maps in found.maps if maps is not None), None)
    if shape is None:
        return []
    values = np.stack([np.zeros(shape, np.float32) if m is None else m for m in found.maps])
    numbers, scale = to_bytes(values.reshape(-1, shape[1]), axis=1, levels=65535)
    name = f"attribution_{found.method}"
    return [pack(name, numbers.reshape(values.shape)), pack(f"{name}_scale", scale)]


def _wavelengths(subject: SceneSubject) -> list[float] | None:
    waves = subject.wavelengths
    known = waves is not None and np.isfinite(waves).all()
    return [round(float(wave), 2) for wave in waves] if waves is not None and known else None


def _parts(subject: SceneSubject) -> np.ndarray:
    """(rows, cols) uint8: 0 in no part, 1 training, 2 validation, 3 test."""
    split = subject.samples.split
    found = np.zeros(split.train.shape, np.uint8)
    for number, mask in enumerate((split.train, split.validation, split.test), start=1):
        found[mask] = number
    return found


def _probabilities(scores: np.ndarray) -> bool:
    sums = scores.sum(axis=-1)
    return bool(scores.min() >= -0.01 and np.abs(sums - 1).max() < 0.05)
