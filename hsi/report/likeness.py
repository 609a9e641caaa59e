"""CKA of the layers of Keras models: within each, and with those of the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hsi.baselines import ENDING
from hsi.compare.representations import Alignment, layers_of
from hsi.deploy.variant import TFLITE
from hsi.errors import ModelError
from hsi.explain.attribution import rows_at_once
from hsi.parts import AnySamples
from hsi.progress import progress
from hsi.views.opened import Opened

SAMPLES = 192
"""Test samples, at most; all of them are one batch."""
VALUES = 2**24
"""Of a layer over all samples, at most: of larger maps fewer samples are taken."""
VARIANTS = 9
"""Models that are looked at: the first, and others spread evenly over the rest."""
LAYERS = 48
"""Of a model that are shown: the first, the last, and others spread evenly between them."""


def likeness_part(
    opened: Sequence[Opened], samples: AnySamples, *, seed: int, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """Layers and their CKA for the page, by the place of the variant; None where there is none."""
    others = (TFLITE, ENDING)
    places = [i for i, item in enumerate(opened) if item.path.suffix.lower() not in others]
    if not places or len(samples.part("test").pixels) < 8:
        return None
    some = np.linspace(0, len(places) - 1, min(VARIANTS, len(places))).round().astype(int)
    places = [places[i] for i in some]
    test = samples.part("test").pixels
    count = min(SAMPLES, max(16, VALUES // int(np.prod(samples.patches.shape)) // 16))
    keys = np.random.default_rng(seed).permutation(test)[:count]
    found: dict[int, tuple[list[str], list[np.ndarray]]] = {}
    with progress("layers", len(places)) as advance:
        for done, place in enumerate(places, start=1):
            try:
                found[place] = _activations(opened[place], keys)
            except ModelError as error:
                say(f"Note: {opened[place].label}: no layers are compared: {error}")
            advance(done, opened[place].label)
    if not found:
        return None
    alignment = Alignment()
    alignment.add([values for _, arrays in found.values() for values in arrays])
    matrix = alignment.matrix()
    ends = np.cumsum([0, *(len(names) for names, _ in found.values())])
    spans = {
        place: slice(start, stop)
        for place, start, stop in zip(found, ends[:-1], ends[1:], strict=True)
    }
    first = next(iter(spans.values()))
    return {
        "samples": len(keys),
        "first": next(iter(found)),
        "layers": {str(place): names for place, (names, _) in found.items()},
        "within": {str(place): _plain(matrix[span, span]) for place, span in spans.items()},
        "between": {str(place): _plain(matrix[first, span]) for place, span in spans.items()},
    }


def _activations(item: Opened, keys: np.ndarray) -> tuple[list[str], list[np.ndarray]]:
    """Names and activations (n, values) of layers."""
    inputs = item.subject.own(keys)
    names: list[str] | None = None
    parts: list[list[np.ndarray]] = []
    step = rows_at_once(inputs.shape[1:], None)
    for start in range(0, len(inputs), step):
        batch = inputs[start : start + step]
        layers = layers_of(item.variant, batch, names)
        if names is None:
            some = np.linspace(0, len(layers) - 1, min(LAYERS, len(layers))).round().astype(int)
            layers = [layers[i] for i in some]
            names = [layer.layer for layer in layers]
        parts.append([layer.array.reshape(len(batch), -1) for layer in layers])
    return names or [], [np.concatenate(column) for column in zip(*parts, strict=True)]


def _plain(values: np.ndarray) -> list[list[float | None]]:
    return [[round(float(v), 3) if np.isfinite(v) else None for v in row] for row in values]
