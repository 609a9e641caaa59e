"""Parts of samples, and what prepares them: the same face for patches of a scene and for images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np

from hsi.errors import DataError

CALIBRATION_SAMPLES = 500

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""A batch (n, rows, cols, channels) and where its chances come from -> a batch like it."""


@dataclass(frozen=True)
class Part:
    """Samples that train, validate or test, and their class indices.

    Attributes:
        pixels: (n,) keys of the samples: flat pixel numbers of a scene, row * cols + col, or
            numbers of images.
        classes: (n,) class indices 0..classes-1.
    """

    pixels: np.ndarray
    classes: np.ndarray


class Source(Protocol):
    """What makes a network's input of keys: the patches of a scene, or images."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one input: (rows, cols, channels)."""

    def gather(self, pixels: np.ndarray, /) -> np.ndarray:
        """(n,) keys -> (n, rows, cols, channels) float32, prepared; a new array."""


class AnySamples(Protocol):
    """What a network is trained and tested on: the patches of a scene, or the images of a set."""

    @property
    def name(self) -> str:
        """Of the scene or the set."""

    @property
    def synthetic(self) -> bool:
        """Whether it is generated, no measurement."""

    @property
    def unit(self) -> str:
        """What a sample is: "pixel" or "image"."""

    @property
    def sha256(self) -> str:
        """Of the data."""

    @property
    def patches(self) -> Source:
        """What makes a network's input of the keys of samples."""

    @property
    def class_names(self) -> Mapping[int, str]:
        """Published number -> name, in the order of the class indices."""

    @property
    def classes(self) -> int:
        """How many there are."""

    @property
    def leakage(self) -> float:
        """Share of the test samples, 0..1, that training has seen in part or whole."""

    @property
    def divided(self) -> str:
        """How training and test samples were told apart, as results.csv has it."""

    @property
    def note(self) -> str:
        """What every figure says of the division, without a full stop."""

    @property
    def augment(self) -> Augment | None:
        """What changes training batches at random, if anything does."""

    @property
    def moves(self) -> Augment:
        """Changes of a batch after which a teacher can still be asked."""

    @property
    def division(self) -> Mapping[str, np.ndarray]:
        """An array for each part that tells it apart from the others."""

    def part(self, name: str, /) -> Part:
        """The "train", "validation" or "test" samples."""

    def scored(self, *, seed: int) -> Part:
        """The training samples that pruning criteria look at."""

    def calibration(self, *, seed: int) -> np.ndarray:
        """Some training samples, prepared: (n, rows, cols, channels)."""

    def describe(self) -> tuple[str, ...]:
        """Lines for the user: the data, its division, what to know."""

    def record(self) -> dict[str, Any]:
        """What run.json says: `data`, `classes`, `split` and `preparation`, as plain values."""

    def save_preparation(self, path: Path, /) -> None:
        """Write what was fitted, as .npz."""


def save_division(samples: AnySamples, path: Path) -> None:
    """Write what tells the parts apart as .npz (no pickle)."""
    arrays: dict[str, Any] = dict(samples.division)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def check_same_division(samples: AnySamples, path: Path) -> None:
    """Refuse to go on where the stored division is not this one (`DataError`)."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            same = all(np.array_equal(stored[n], samples.division[n]) for n in stored.files)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise DataError(f"{path}: damaged; start a new run.") from error
    if not same:
        raise DataError(
            f"{path}: the split of this run cannot be made again from its settings (another "
            f"version of the data or of this program?); start a new run."
        )


def calibration(source: Source, training: Part, *, seed: int) -> np.ndarray:
    """At most 500 training samples, drawn evenly at random; (n, rows, cols, channels)."""
    order = np.random.default_rng(seed).permutation(len(training.pixels))
    return source.gather(training.pixels[order[:CALIBRATION_SAMPLES]])
