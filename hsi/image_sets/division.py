"""Which images train, validate and test: as published where that is so, else drawn by class."""

from __future__ import annotations

import numpy as np

from hsi.errors import DataError, SettingsError
from hsi.image_sets.listing import Listing


def divide(
    listing: Listing,
    *,
    seed: int,
    validation_fraction: float,
    test_fraction: float,
    train_fraction: float | None = None,
) -> dict[str, np.ndarray]:
    """Numbers of the images of each part, ascending: "train", "validation" and "test".

    Published parts are kept. Test images of a set that is not divided, then validation images, then
    the training images that `train_fraction` leaves out are drawn class by class, whole groups at
    a time; so test and validation do not depend on `train_fraction`.

    Args:
        seed: of every draw.
        validation_fraction: of each class's training images.
        test_fraction: of each class's images, where no test set is published.
        train_fraction: of the training images that are left; None keeps them all.

    Raises:
        DataError: a class that cannot be divided.
        SettingsError: fractions that leave nothing.
    """
    _check(validation_fraction, test_fraction, train_fraction)
    rng = np.random.default_rng(seed)
    parts = {
        name: np.flatnonzero(listing.parts == name) for name in ("", "train", "validation", "test")
    }
    train = parts.pop("")
    if len(train):
        parts["test"] = _draw(listing, train, test_fraction, rng, least=1)
        parts["train"] = _without(train, parts["test"])
    if not len(parts["validation"]):
        parts["validation"] = _draw(listing, parts["train"], validation_fraction, rng)
        parts["train"] = _without(parts["train"], parts["validation"])
    if train_fraction is not None and train_fraction < 1:
        parts["train"] = _draw(listing, parts["train"], train_fraction, rng, least=1)
    return {name: parts[name] for name in ("train", "validation", "test")}


def _check(validation: float, test: float, train: float | None) -> None:
    for name, value, low, high in (
        ("validation_fraction", validation, "from 0", 0 <= validation < 1),
        ("test_fraction", test, "above 0", 0 < test < 1),
    ):
        if not high:
            raise SettingsError(f"{name}: expected a share {low} and below 1, got {value:g}.")
    if train is not None and not 0 < train <= 1:
        raise SettingsError(f"train_fraction: expected a share above 0 to 1, got {train:g}.")


def _without(numbers: np.ndarray, taken: np.ndarray) -> np.ndarray:
    return np.setdiff1d(numbers, taken, assume_unique=True)


def _draw(
    listing: Listing,
    numbers: np.ndarray,
    fraction: float,
    rng: np.random.Generator,
    *,
    least: int = 0,
) -> np.ndarray:
    """A share of the images of each class, in whole groups; at least one group stays behind."""
    groups = numbers if listing.groups is None else listing.groups[numbers]
    members, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    classes = listing.classes[numbers][first]  # a group of several classes counts as its first
    chosen: list[np.ndarray] = []
    for index in np.unique(classes):
        order = rng.permutation(np.flatnonzero(classes == index))
        if least and len(order) < 2:
            raise DataError(
                f"Class {listing.keys[index]} has one image (or several of one subject), which "
                "cannot be in two parts; add images or remove the class."
            )
        held = np.concatenate([[0], np.cumsum(sizes[order])])
        nearest = int(np.abs(held - fraction * held[-1]).argmin())
        chosen.append(members[order[: min(max(nearest, least), len(order) - 1)]])
    taken = np.isin(groups, np.concatenate(chosen)) if chosen else np.zeros(len(numbers), bool)
    return numbers[taken]
