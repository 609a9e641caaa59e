"""Which pixels train, validate and test, and how much the patches leak between them.

A random split lets the patch of almost every test pixel hold training pixels. `blocks` keeps whole
blocks of the scene apart, with a gap, so that no test patch holds one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsi.errors import DataError, SettingsError, one_of
from hsi.scene import Scene
from hsi.split.blocks import dilate, split_blocks
from hsi.split.given import split_given

METHODS = ("blocks", "random", "given")


@dataclass(frozen=True)
class Split:
    """Disjoint masks over a scene.

    Attributes:
        train, validation, test: (rows, cols) bool.
        method: "blocks", "random" or "given".
        seed: of every random choice in it.
        patch_size: side of the patches that the leakage is computed for.
        gap: pixels within this Chebyshev distance of training are kept out of the test.
        notes: what the user should know, a sentence each.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    method: str
    seed: int
    patch_size: int
    gap: int = 0
    notes: tuple[str, ...] = ()

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """By the names of the parts."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def leakage(self) -> float:
        """Share of test pixels, 0..1, whose own patch holds a training pixel; exact."""
        tests = np.count_nonzero(self.test)
        reached = dilate(self.train, self.patch_size // 2)
        return float(np.count_nonzero(self.test & reached) / tests) if tests else 0.0


@dataclass(frozen=True)
class Amount:
    """How much to train on: a share of each class, or a number of pixels of each class."""

    fraction: float = 0.1
    per_class: int | None = None

    def of(self, sizes: np.ndarray) -> np.ndarray:
        """Training pixels wanted of classes of these sizes: at least 1, one left to test."""
        wanted = np.full(len(sizes), self.per_class) if self.per_class else self.fraction * sizes
        return np.clip(np.round(wanted), 1, np.maximum(sizes - 1, 1)).astype(int)


def make_split(
    scene: Scene,
    *,
    method: str = "blocks",
    amount: Amount | None = None,
    validation_fraction: float = 0.1,
    patch_size: int = 5,
    block_size: int = 10,
    seed: int = 0,
    train_labels: np.ndarray | None = None,
    test_labels: np.ndarray | None = None,
) -> Split:
    """Split the labelled pixels of a scene.

    Args:
        scene: every class must have at least two pixels.
        method: "blocks" (blocks of the scene with a gap of patch_size // 2), "random" (stratified)
            or "given" (`train_labels`, and `test_labels` or all other labelled pixels).
        amount: how much of each class trains; validation pixels are taken out of it.
        validation_fraction: share of each class's training pixels that validates instead.
        patch_size: odd side of the patches, in pixels.
        block_size: side of the blocks, in pixels.
        seed: of every random choice.
        train_labels, test_labels: (rows, cols) label maps of a given split, 0 elsewhere.

    Raises:
        DataError: no labels, a class of one pixel, or given maps that contradict the scene.
        SettingsError: an unknown method, or fractions that leave nothing.
    """
    one_of(method, METHODS, what="split")
    amount = amount or Amount()
    _check(scene, amount, validation_fraction)
    rng = np.random.default_rng(seed)
    labels = scene.class_indices()
    wanted = amount.of(np.bincount(labels[labels >= 0]))
    if method == "given":
        train, test, notes = split_given(scene, train_labels, test_labels)
        gap = 0
    elif method == "random":
        train = _random(labels, wanted, rng)
        test, notes, gap = (labels >= 0) & ~train, [], 0
    else:
        gap = patch_size // 2
        train, test, notes = split_blocks(scene, wanted, block_size=block_size, gap=gap, rng=rng)
    train, validation = _take_validation(labels, train, validation_fraction, rng)
    return Split(train, validation, test, method, seed, patch_size, gap, tuple(notes))


def _check(scene: Scene, amount: Amount, validation_fraction: float) -> None:
    if not 0 < amount.fraction < 1:
        raise SettingsError(
            f"train_fraction: expected a share between 0 and 1, got {amount.fraction:g}; "
            f"for a number of pixels use train_per_class."
        )
    if amount.per_class is not None and amount.per_class < 1:
        raise SettingsError(f"train_per_class: expected 1 or more, got {amount.per_class}.")
    if not 0 <= validation_fraction < 1:
        raise SettingsError(
            f"validation_fraction: expected a share of the training pixels from 0 to below 1, "
            f"got {validation_fraction:g}."
        )
    if len(scene.classes) < 2:
        raise DataError(
            f"{scene.name}: expected at least two classes in the labels, got {len(scene.classes)}."
        )
    for number in scene.classes:
        if np.count_nonzero(scene.labels == number) == 1:
            raise DataError(
                f"{scene.name}: class {number} ({scene.class_names[number]}) has one pixel, which "
                f"cannot both train and test; leave the class out with --classes."
            )


def _random(labels: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    train = np.zeros(labels.size, bool)
    flat = labels.ravel()
    for index, count in enumerate(wanted):
        train[rng.permutation(np.flatnonzero(flat == index))[:count]] = True
    return train.reshape(labels.shape)


def _take_validation(
    labels: np.ndarray, train: np.ndarray, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Move a share of each class's training pixels to validation; one always stays."""
    validation: np.ndarray = np.zeros(labels.size, bool)
    for index in np.unique(labels[train]):
        pixels = np.flatnonzero((train & (labels == index)).ravel())
        count = min(round(fraction * len(pixels)), len(pixels) - 1)
        validation[rng.permutation(pixels)[:count]] = True
    validation = validation.reshape(labels.shape)
    return train & ~validation, validation
