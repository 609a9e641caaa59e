"""Whether two variants were made on the same data: the files, the classes, the labels, the cube.

The hash on record is of whole files. Two arrays of one file (`FILE:KEY`) share it, so that what was
read from them is held against each other as well.
"""

from __future__ import annotations

import numpy as np

from hsi.parts import AnySamples
from hsi.samples import Samples

PARTS = ("test", "validation", "train")

LOOKED_AT = 256
"""Pixels, about, whose spectra are held against each other."""


def apart(first: AnySamples, other: AnySamples) -> str:
    """Why the samples of two variants are not of the same data, and what to do; "" where they are.

    Their splits and preparations may differ all the same.
    """
    if first.sha256 != other.sha256:
        same = " of that name" if first.name == other.name else ""
        return (
            f"it was made on other data{same} ({other.name}, {first.name}); compare variants of "
            "one data set"
        )
    if dict(first.class_names) != dict(other.class_names):
        return (
            f"it tells other classes apart ({other.classes}, {first.classes}: "
            f"{_differing(first, other)}); compare variants of the same classes"
        )
    keys, mine, its = _labelled_in_both(first, other)
    if parting := np.count_nonzero(mine != its):
        return (
            f"its labels give {parting} of {len(keys)} {first.unit}s another class; compare "
            "variants of one --labels"
        )
    if not _same_spectra(first, other, keys[:: max(1, len(keys) // LOOKED_AT)]):
        return "it was made on another cube of the same file; compare variants of one --dataset"
    return ""


def _differing(first: AnySamples, other: AnySamples) -> str:
    """The first class that one of them has alone."""
    number, name = min(set(first.class_names.items()) ^ set(other.class_names.items()))
    return f"{number} {name} is not in both"


def _labelled_in_both(
    first: AnySamples, other: AnySamples
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) keys of the samples that have a part in both, and the class index in each."""
    (keys, classes), (its_keys, its_classes) = map(_labelled, (first, other))
    both, mine, its = np.intersect1d(keys, its_keys, return_indices=True)
    return both, classes[mine], its_classes[its]


def _labelled(samples: AnySamples) -> tuple[np.ndarray, np.ndarray]:
    """(n,) keys of all parts, and their class indices."""
    parts = [samples.part(name) for name in PARTS]
    keys, classes = zip(*((part.pixels, part.classes) for part in parts), strict=True)
    return np.concatenate(keys), np.concatenate(classes)


def _same_spectra(first: AnySamples, other: AnySamples, keys: np.ndarray) -> bool:
    """Whether two scenes hold the same at these pixels, in the bands that both have."""
    if not isinstance(first, Samples) or not isinstance(other, Samples):
        return True
    scenes = first.scene, other.scene
    if scenes[0].labels.shape != scenes[1].labels.shape:
        return False
    rows, cols = np.divmod(keys, scenes[0].cols)
    mine, its = (np.asarray(scene.cube[rows, cols]) for scene in scenes)
    if np.array_equal(mine, its, equal_nan=True):
        return True
    numbers = scenes[0].sensor_bands(), scenes[1].sensor_bands()
    _, kept, its_kept = np.intersect1d(numbers[0], numbers[1], return_indices=True)
    return np.array_equal(mine[:, kept], its[:, its_kept], equal_nan=True)
