"""A split that somebody published: label maps of training and test pixels."""

from __future__ import annotations

import numpy as np

from hsi.errors import DataError, SettingsError
from hsi.scene import Scene

MOST_CONTRADICTIONS = 0.01
"""Share of a given map's pixels that may have another class than in the scene (left out)."""


def split_given(
    scene: Scene, train_labels: np.ndarray | None, test_labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Training and test masks of published maps, and notes; without a test map, all the rest tests.

    Raises:
        DataError: maps that contradict the scene or each other, or leave nothing to test.
        SettingsError: no training map.
    """
    if train_labels is None:
        raise SettingsError("split given: expected --train_labels FILE (and --test_labels FILE).")
    notes: list[str] = []
    train = _as_mask(scene, train_labels, "train_labels", notes)
    if test_labels is None:
        notes.append("No test_labels: every other labelled pixel tests.")
        test = (scene.labels > 0) & (train_labels <= 0)
    else:
        test = _as_mask(scene, test_labels, "test_labels", notes)
    both = int(np.count_nonzero(train & test))
    if both:
        raise DataError(
            f"train_labels and test_labels share {both} pixels; expected disjoint maps."
        )
    if not test.any():
        raise DataError("split given: expected test pixels; train_labels hold every labelled one.")
    untrained = np.setdiff1d(scene.labels[test], scene.labels[train])
    if len(untrained):
        notes.append(
            f"Class {untrained[0]} ({scene.class_names[int(untrained[0])]}) has no training "
            f"pixels in train_labels ({len(untrained)} such)."
        )
    return train, test, notes


def _as_mask(scene: Scene, given: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    """Where a given map is labelled, after checking that it means the scene's own classes.

    Public maps number the same classes differently (a one-to-one renumbering is recognised), hold
    a few pixels of another class (the DASE map of Indian Pines: 10 of 5538) and label pixels that
    the scene leaves unlabelled (that of Pavia University: 1147 of 3921). Both kinds are left out.
    """
    if given.shape != scene.labels.shape:
        raise DataError(
            f"{name}: expected {scene.rows} x {scene.cols} pixels like the scene, "
            f"got shape {given.shape}."
        )
    mask = (given > 0) & (scene.labels > 0)
    if not mask.any():
        raise DataError(f"{name}: expected pixels that the scene has labels for, got none.")
    (theirs, ours), counts = np.unique(
        np.stack([given[mask], scene.labels[mask]]), axis=1, return_counts=True
    )
    order = np.argsort(counts, kind="stable")  # of each given number, the most frequent class wins
    meaning = dict(zip(theirs[order].tolist(), ours[order].tolist(), strict=True))
    agree = np.array([meaning[a] == b for a, b in zip(theirs.tolist(), ours.tolist(), strict=True)])
    differ = int(counts[~agree].sum())
    if len(set(meaning.values())) < len(meaning) or differ > MOST_CONTRADICTIONS * counts.sum():
        differ = int(np.count_nonzero(given[mask] != scene.labels[mask]))
        raise DataError(
            f"{name}: {differ} of {np.count_nonzero(mask)} pixels have another class than in the "
            f"scene's labels; pass the label map that belongs to it with --labels."
        )
    renumbered = [f"{a} is {b}" for a, b in sorted(meaning.items()) if a != b]
    if renumbered:
        notes.append(f"{name} numbers the classes differently: {', '.join(renumbered)} (mapped).")
    unlabelled = int(np.count_nonzero((given > 0) & ~mask))
    if unlabelled or differ:
        notes.append(
            f"{name}: left out {unlabelled} pixels without a label in the scene and {differ} with "
            f"that of another class."
        )
    for a, b in zip(theirs[~agree], ours[~agree], strict=True):
        mask &= ~((given == a) & (scene.labels == b))
    return mask
