"""Methods that attribute a class score to the input: tiles, band by band."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hsi import explain
from hsi.explain import METHODS
from hsi.explain.attribution import Attribution
from hsi.predict import batches
from hsi.samples import Samples
from hsi.views import draw
from hsi.views.arrays import attribution_arrays, not_in_bands
from hsi.views.look import Look
from hsi.views.request import NOISE, SMOOTH, SMOOTH_SAMPLES


def show(look: Look) -> list[Path]:
    """One figure a sample (all in one where a file is named), or one file of arrays."""
    found = {name: _attribute(look, name) for name in look.request.rows}
    for name, result in found.items():
        for note in result.notes:
            look.say(f"Note: {name}: {note}.")
    if look.request.format == "npz":
        arrays = attribution_arrays(look.subject, found)
        if "attributions" not in arrays:
            first = next(iter(found.values()))
            look.say(f"Note: {not_in_bands(look.subject.samples.preparation, first)}.")
        return [look.write_arrays(arrays)]
    every = list(range(len(look.chosen.pixels)))
    written = []
    for places in [every] if look.request.output_file else [[place] for place in every]:
        figure = draw.tiles(look, found, places)
        written.append(look.write_figure(figure, draw.stem(look, places[0])))
    return written


def _attribute(look: Look, name: str) -> Attribution:
    request = look.request
    options: dict[str, Any] = {}
    if METHODS[name].takes_layer and request.layers:
        options = {"layer": request.layers[0]}
    if name in SMOOTH:
        options = {
            "samples": request.smooth_samples or SMOOTH_SAMPLES,
            "noise": NOISE if request.noise is None else request.noise,
            "ranges": channel_ranges(look.subject.samples),
        }
    return explain.attribute(
        name,
        look.model,
        look.chosen.inputs,
        classes=look.chosen.explained,
        batch_size=request.batch_size,
        seed=request.seed,
        **options,
    )


def channel_ranges(samples: Samples) -> np.ndarray:
    """(channels,) largest minus smallest value of each input channel over the training patches."""
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for pixels in batches(samples.part("train").pixels, 256):
        patches = samples.patches.gather(pixels)
        low = np.minimum(low, patches.min(axis=(0, 1, 2)))
        high = np.maximum(high, patches.max(axis=(0, 1, 2)))
    return np.asarray(high - low)
