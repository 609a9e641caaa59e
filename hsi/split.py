"""Which pixels train, validate and test, and how much the patches leak between them.

A random split lets the patch of almost every test pixel hold training pixels. `blocks` keeps whole
blocks of the scene apart, with a gap, so that no test patch holds one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hsi.errors import DataError, SettingsError, one_of
from hsi.scene import Scene

METHODS = ("blocks", "random", "given")
MOST_CONTRADICTIONS = 0.01
"""Share of a given map's pixels that may have another class than in the scene (left out)."""


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
    if method == "given":
        train, test, notes = _given(scene, train_labels, test_labels)
        gap = 0
    elif method == "random":
        train = _random(labels, amount, rng)
        test, notes, gap = (labels >= 0) & ~train, [], 0
    else:
        gap = patch_size // 2
        train, test, notes = _blocks(scene, amount, block_size, gap, rng)
    train, validation = _take_validation(labels, train, validation_fraction, rng)
    return Split(train, validation, test, method, seed, patch_size, gap, tuple(notes))


def dilate(mask: np.ndarray, distance: int) -> np.ndarray:
    """Every pixel within `distance` (Chebyshev) of a True pixel; (rows, cols) bool."""
    from scipy.ndimage import maximum_filter

    if distance == 0:
        return mask
    return maximum_filter(mask, size=2 * distance + 1, mode="constant", cval=False)


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


def _random(labels: np.ndarray, amount: Amount, rng: np.random.Generator) -> np.ndarray:
    train = np.zeros(labels.size, bool)
    flat = labels.ravel()
    sizes = np.bincount(flat[flat >= 0])
    for index, count in enumerate(amount.of(sizes)):
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


def _given(
    scene: Scene, train_labels: np.ndarray | None, test_labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
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


def _blocks(
    scene: Scene, amount: Amount, block_size: int, gap: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    if block_size < 1:
        raise SettingsError(f"block_size: expected 1 or more pixels, got {block_size}.")
    labels = scene.class_indices()
    sizes = np.bincount(labels[labels >= 0])
    wanted = amount.of(sizes)
    train = _choose_blocks(labels, wanted, block_size, rng)
    for index in range(len(sizes)):
        if not (train & (labels == index)).any():
            train |= _end_of(labels == index, int(wanted[index]), first=True)
    labelled = labels >= 0
    if train.sum() <= labelled.sum() / 2:  # the gap is taken from the larger side
        test = labelled & ~train & ~dilate(train, gap)
    else:
        test = labelled & ~train
        train = train & ~dilate(test, gap)
    for index in range(len(sizes)):
        train, test = _repair(labels, index, train, test, gap)
    notes = []
    for index, number in enumerate(scene.classes):
        missing = [
            name
            for name, mask in (("training", train), ("test", test))
            if not (mask & (labels == index)).any()
        ]
        if missing:
            notes.append(
                f"Class {number} ({scene.class_names[number]}) has no {' and no '.join(missing)} "
                f"pixels: its {sizes[index]} pixels lie too close together, or too close to those "
                f"of another small class, for a gap of {gap}."
            )
    return train, test, notes


def _choose_blocks(
    labels: np.ndarray, wanted: np.ndarray, block_size: int, rng: np.random.Generator
) -> np.ndarray:
    """Training blocks, chosen greedily, rarest class first (after Sechidis et al. 2011).

    A block is taken if it brings the class nearer to its wanted count; among those, the one that
    leaves all classes nearest to theirs. A block that holds all of some class is never taken.
    """
    rows, cols = labels.shape
    offset = rng.integers(block_size, size=2)
    across = (cols + block_size - 1) // block_size + 1
    block_of = ((np.arange(rows)[:, None] + offset[0]) // block_size) * across + (
        np.arange(cols) + offset[1]
    ) // block_size
    classes = len(wanted)
    labelled = labels >= 0
    cells = block_of[labelled] * classes + labels[labelled]
    blocks = int(block_of.max()) + 1
    counts = np.bincount(cells, minlength=blocks * classes).reshape(blocks, classes)
    sizes = counts.sum(axis=0)
    order = rng.permutation(blocks)
    free = ((counts > 0).any(axis=1) & (counts < sizes).all(axis=1))[order]
    counts = counts[order]
    taken = np.zeros(blocks, bool)
    have = np.zeros(classes, int)
    for index in np.argsort(sizes, kind="stable"):
        while have[index] < wanted[index]:
            after = have + counts
            keeps_test = (after < sizes).all(axis=1)
            usable = free & ~taken & (counts[:, index] > 0) & keeps_test
            nearer = np.abs(after[:, index] - wanted[index]) < wanted[index] - have[index]
            choice = usable & nearer if have[index] else usable
            if not choice.any():
                break
            cost = (np.abs(after - wanted) / wanted).sum(axis=1)
            best = np.flatnonzero(choice)[np.argmin(cost[choice])]
            taken[best] = True
            have += counts[best]
    chosen = np.zeros(blocks, bool)
    chosen[order[taken]] = True
    return chosen[block_of] & labelled


def _end_of(mask: np.ndarray, count: int, *, first: bool) -> np.ndarray:
    """The first or last `count` True pixels of a mask along its longer side; (rows, cols) bool."""
    row, col = np.nonzero(mask)
    along = row if np.ptp(row) >= np.ptp(col) else col
    order = np.lexsort((col, row, along))
    picked = order[:count] if first else order[len(order) - count :]
    end = np.zeros_like(mask)
    end[row[picked], col[picked]] = True
    return end


def _repair(
    labels: np.ndarray, index: int, train: np.ndarray, test: np.ndarray, gap: int
) -> tuple[np.ndarray, np.ndarray]:
    """Give a class that lacks test or training pixels an end of its own for them.

    The pixels around that end go to nobody, so the gap holds. Where that would cost this or
    another class a side that it has, nothing is changed and the caller says what is missing.
    """
    members = labels == index
    sides = _sides(labels, train, test)
    if index in sides[0] and index in sides[1]:
        return train, test
    for count in range(max(1, int(members.sum()) // 5), 0, -1):
        for to_train, to_test in _ends(members, count, index in sides[0]):
            new_train = (train | to_train) & ~dilate(to_test, gap)
            new_test = (test | to_test) & ~dilate(to_train, gap)
            after = _sides(labels, new_train, new_test)
            if sides[0] | {index} <= after[0] and sides[1] | {index} <= after[1]:
                return new_train, new_test
    return train, test


def _sides(labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> tuple[set, set]:
    """The class indices that have training pixels, and those that have test pixels."""
    return set(np.unique(labels[train])), set(np.unique(labels[test]))


def _ends(members: np.ndarray, count: int, trains: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ends of a class to add to (training, test): to the side it lacks, then one end to each."""
    first = _end_of(members, count, first=True)
    last = _end_of(members, count, first=False)
    nothing = np.zeros_like(members)
    if trains:
        yield from ((nothing, last), (nothing, first))
    else:
        yield from ((first, nothing), (last, nothing))
    yield from ((first, last), (last, first))
