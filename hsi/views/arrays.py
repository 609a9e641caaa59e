"""The arrays behind the pictures, in the bands of the sensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi.files import atomic_path
from hsi.views.choose import Chosen
from hsi.views.opened import Subject
from hsi.views.photographs import ImageSubject
from hsi.views.subject import SceneSubject

if TYPE_CHECKING:
    from hsi.explain.activation_map import LayerActivations
    from hsi.explain.attribution import Attribution


def common_arrays(
    subject: Subject, inputs: np.ndarray, chosen: Chosen, method: str
) -> dict[str, np.ndarray]:
    """What every .npz has: inputs as shown, wavelengths, band numbers, classes, scores."""
    channels = inputs.shape[-1]
    unknown = np.full(channels, np.nan)
    waves = subject.wavelengths
    arrays = {
        "inputs": inputs,
        "wavelengths": np.asarray(unknown if waves is None else waves, np.float64),
        "bands": subject.numbers,
        "classes": chosen.explained,
        "scores": chosen.scores,
        "method": np.asarray(method),
        "true_classes": chosen.true,
        "predicted_classes": chosen.predicted,
        "synthetic": np.asarray(subject.synthetic),
    }
    if not isinstance(subject, ImageSubject):
        for name in ("classes", "true_classes", "predicted_classes"):
            arrays[name] = subject.class_numbers[arrays[name]]
    if not isinstance(subject, SceneSubject):
        return arrays | {"names": np.asarray([subject.place(key) for key in chosen.keys])}
    arrays["pixels"] = np.stack(np.divmod(chosen.keys, subject.scene.cols), axis=1)
    if subject.reduced:
        arrays["inputs_components"] = chosen.inputs
    return arrays


def attribution_arrays(
    found: Mapping[str, Attribution], components: Mapping[str, Attribution]
) -> dict[str, np.ndarray]:
    """Maps of each method, the first as `attributions` and others as `attributions_<method>`.

    Args:
        found: of what is shown.
        components: the same of the network's own input, where its bands are reduced.
    """
    arrays = {}
    for place, (method, result) in enumerate(found.items()):
        suffix = "" if place == 0 else f"_{method}"
        arrays[f"attributions{suffix}"] = result.maps
        if method in components:
            arrays[f"attributions_components{suffix}"] = components[method].maps
        if result.completeness_error is not None:
            arrays[f"completeness_error{suffix}"] = result.completeness_error
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
