"""The arrays behind the pictures, in the bands of the sensor wherever they can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi import bands
from hsi.files import atomic_path
from hsi.views.choose import Chosen
from hsi.views.subject import Subject

if TYPE_CHECKING:
    from hsi.explain.activation_map import LayerActivations
    from hsi.explain.attribution import Attribution


def not_in_bands(preparation: bands.Preparation, result: Attribution) -> str:
    """Why `attribution_in_bands` gives nothing."""
    if result.quantity == "gradient":
        what = f"attributions of components are not brought back through {preparation.reducer}"
    else:
        what = f"{result.method} shares the score out among components, not among bands"
    return f"{what}: the file has attributions_components and no attributions"


def attribution_in_bands(preparation: bands.Preparation, result: Attribution) -> np.ndarray | None:
    """Maps over the bands of the sensor, (n, rows, cols, bands); None where they cannot be.

    Without a reducer they are there already. A map that tells only pixels apart is the same in
    bands as in components; of the others gradients alone obey the chain rule of `to_bands`.
    """
    if preparation.reducer == "none" or result.quantity == "gradient":
        return to_bands(preparation, result.maps)
    if result.per == "pixel":
        shape = (*result.maps.shape[:-1], len(preparation.scale))
        return np.broadcast_to(result.maps[..., :1], shape)
    return None


def to_bands(preparation: bands.Preparation, maps: np.ndarray) -> np.ndarray | None:
    """Gradients with respect to scaled bands, from those with respect to the network's input.

    PCA is linear, out = ((z - mean) C' - out_offset) / out_scale, so by the chain rule
    d/dz = (d/d out / out_scale) C. Without a reducer the maps come back as they are.

    Args:
        preparation: of the network's input.
        maps: (..., channels) derivatives with respect to the channels.

    Returns:
        (..., bands) float32; None with NMF, whose weights are not linear in the bands.
    """
    if preparation.reducer == "none":
        return np.asarray(maps, np.float32)
    if preparation.reducer != "PCA":
        return None
    scaled = np.asarray(maps, np.float64) / preparation.out_scale
    return (scaled @ preparation.components).astype(np.float32)


def band_patches(subject: Subject, pixels: np.ndarray) -> np.ndarray:
    """Patches of clipped and scaled bands, before any reducer.

    Args:
        subject: with the scene, its preparation and the size of its patches.
        pixels: (n,) flat pixel numbers.

    Returns:
        (n, patch, patch, bands) float32; without a reducer what the network takes.
    """
    scene, half = subject.scene, subject.samples.patches.patch_size // 2
    unreduced = replace(subject.samples.preparation, reducer="none")
    row_of, col_of = (np.pad(np.arange(n), half, mode="symmetric") for n in scene.labels.shape)
    side = 2 * half + 1
    found = []
    for row, col in zip(*np.divmod(pixels, scene.cols), strict=True):
        window = np.ix_(row_of[row : row + side], col_of[col : col + side])
        found.append(bands.apply(unreduced, np.asarray(scene.cube[window])))
    return np.stack(found)


def common_arrays(subject: Subject, chosen: Chosen, method: str) -> dict[str, np.ndarray]:
    """What every .npz has: inputs in bands, wavelengths, band numbers, classes, scores, pixels."""
    scene = subject.scene
    numbers = np.array([*scene.classes, 0])  # index -1, unlabelled, is the published 0
    unknown = np.full(scene.bands, np.nan)
    arrays = {
        "inputs": band_patches(subject, chosen.pixels),
        "wavelengths": np.asarray(
            unknown if scene.wavelengths is None else scene.wavelengths, np.float64
        ),
        "bands": scene.sensor_bands(),
        "classes": numbers[chosen.explained],
        "scores": chosen.scores,
        "method": np.asarray(method),
        "pixels": np.stack(np.divmod(chosen.pixels, scene.cols), axis=1),
        "true_classes": numbers[chosen.true],
        "predicted_classes": numbers[chosen.predicted],
        "synthetic": np.asarray(scene.synthetic),
    }
    if subject.reduced:
        arrays["inputs_components"] = chosen.inputs
    return arrays


def attribution_arrays(subject: Subject, found: Mapping[str, Attribution]) -> dict[str, np.ndarray]:
    """Maps of each method, the first as `attributions` and others as `attributions_<method>`."""
    arrays = {}
    for place, (method, result) in enumerate(found.items()):
        name = "attributions" if place == 0 else f"attributions_{method}"
        in_bands = attribution_in_bands(subject.samples.preparation, result)
        if in_bands is not None:
            arrays[name] = in_bands
        if subject.reduced:
            arrays[name.replace("attributions", "attributions_components", 1)] = result.maps
        if result.completeness_error is not None:
            arrays[name.replace("attributions", "completeness_error", 1)] = (
                result.completeness_error
            )
    return arrays


def activation_arrays(layers: Sequence[LayerActivations]) -> dict[str, np.ndarray]:
    """`layers` names them; `activations_<i>` is what layer i, from 0, answers."""
    arrays = {f"activations_{i}": layer.array for i, layer in enumerate(layers)}
    return {"layers": np.asarray([layer.layer for layer in layers]), **arrays}


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a compressed .npz without pickles, whole or not at all (`OutputError`)."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]
    return path
