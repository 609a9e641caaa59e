"""A split by blocks: whole blocks of the scene train, with a gap to those that test."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hsi.errors import SettingsError
from hsi.scene import Scene


def dilate(mask: np.ndarray, distance: int) -> np.ndarray:
    """Every pixel within `distance` (Chebyshev) of a True pixel; (rows, cols) bool."""
    from scipy.ndimage import maximum_filter

    if distance == 0:
        return mask
    return maximum_filter(mask, size=2 * distance + 1, mode="constant", cval=False)


def split_blocks(
    scene: Scene, wanted: np.ndarray, *, block_size: int, gap: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Training and test masks of whole blocks, and notes on classes that one of them lacks.

    Args:
        wanted: (classes,) training pixels of each class, kept as near as blocks allow.
        block_size: side of the blocks, in pixels.
        gap: pixels within this distance of training are in neither mask.
    """
    if block_size < 1:
        raise SettingsError(f"block_size: expected 1 or more pixels, got {block_size}.")
    labels = scene.class_indices()
    sizes = np.bincount(labels[labels >= 0])
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
