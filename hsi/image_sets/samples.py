"""Samples of an image set: what a network is trained and tested on, with the face of a scene's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hsi import parts
from hsi.image_sets.scaling import ImageScaling, save_scaling
from hsi.image_sets.source import ImageSource
from hsi.parts import Augment, Part

SCORED = 5000
"""Training images that pruning criteria look at, at most."""


@dataclass(frozen=True)
class ImageSamples:
    """The images of a set, divided and prepared.

    Attributes:
        name: of the set, or of the folder.
        images: prepared, by number; also called `patches`, as those of a scene.
        parts: "train", "validation" and "test".
        class_names: published number -> name, in the order of the class indices.
        keys: what the files call the classes, in the same order.
        source: where the images come from.
        sha256: of the data.
        seed: of the division.
        divided: how: by the publisher, or drawn.
        augment: for training batches alone.
        left_out: numbers of the training images that `train_fraction` leaves out: they have no part
            in training, but a start without labels may look at them.
        notes: what the user should know, a sentence each.
        synthetic: never; a scene may be.
    """

    name: str
    images: ImageSource
    parts: Mapping[str, Part]
    class_names: Mapping[int, str]
    keys: tuple[str, ...]
    source: str
    sha256: str
    seed: int
    divided: str
    augment: Augment
    left_out: np.ndarray
    notes: tuple[str, ...] = ()
    synthetic: bool = False

    unit: ClassVar[str] = "image"

    def part(self, name: str) -> Part:
        """The "train", "validation" or "test" images with their class indices."""
        return self.parts[name]

    @property
    def moves(self) -> Augment:
        """Changes of a batch after which a teacher can still be asked."""
        return self.augment

    @property
    def patches(self) -> ImageSource:
        return self.images

    @property
    def scaling(self) -> ImageScaling:
        """Fitted on training images, or known before; travels with the model."""
        return self.images.scaling

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def division(self) -> dict[str, np.ndarray]:
        """The numbers of the images of each part."""
        return {name: part.pixels for name, part in self.parts.items()}

    @property
    def note(self) -> str:
        return (
            f"Images divided {self.divided}, seed {self.seed}; {100 * self.leakage:.1f} % of the "
            "test images have an exact copy in training"
        )

    def scored(self, *, seed: int) -> Part:
        """At most 5000 training images, drawn evenly at random."""
        part = self.parts["train"]
        chosen = np.random.default_rng(seed).permutation(len(part.pixels))[:SCORED]
        return Part(part.pixels[chosen], part.classes[chosen])

    def save_preparation(self, path: Path) -> None:
        """Write the scaling as .npz; `hsi.image_sets.load_scaling` reads it."""
        save_scaling(self.scaling, path)

    def calibration(self, *, seed: int) -> np.ndarray:
        """At most 500 training images, drawn evenly at random; (n, rows, cols, channels)."""
        return parts.calibration(self.images, self.parts["train"], seed=seed)

    @cached_property
    def leakage(self) -> float:
        """Share of test images, 0..1, of which a training image is an exact copy, pixel by pixel.

        Compared as decoded at the target size; near copies are not found.
        """
        known = set(self.images.digests(self.parts["train"].pixels))
        tested = self.images.digests(self.parts["test"].pixels)
        return sum(digest in known for digest in tested) / len(tested) if tested else 0.0

    def describe(self) -> tuple[str, ...]:
        """Lines for the user: the images, how they are divided, what to know."""
        rows, cols, channels = self.images.shape
        counts = [len(self.parts[name].pixels) for name in ("train", "validation", "test")]
        return (
            f"Images {self.name}: {len(self.images)} of {rows} x {cols} pixels, "
            f"{'grey' if channels == 1 else 'RGB'}, {self.classes} classes.",
            f"Division {self.divided} (seed {self.seed}): {counts[0]} training, {counts[1]} "
            f"validation, {counts[2]} test images; {100 * self.leakage:.1f} % of the test images "
            "have an exact copy in training.",
            *(f"Note: {note}" for note in self.notes),
        )

    def record(self) -> dict[str, Any]:
        """What run.json says of the images, their classes, division and scaling."""
        numbered = enumerate(zip(self.class_names.items(), self.keys, strict=True))
        counts = {name: len(part.pixels) for name, part in self.parts.items()}
        return {
            "data": {
                "kind": "images",
                "name": self.name,
                "synthetic": self.synthetic,
                "sha256": self.sha256,
                "source": self.source,
                "shape": [len(self.images), *self.images.shape],
            },
            "classes": [
                {"index": i, "number": n, "name": name, "key": key}
                for i, ((n, name), key) in numbered
            ],
            "split": {
                "method": self.divided,
                "seed": self.seed,
                "leakage": self.leakage,
                "training": counts["train"],
                "validation": counts["validation"],
                "test": counts["test"],
                "notes": list(self.notes),
            },
            "preparation": {
                "scaling": self.scaling.how,
                "mean": list(self.scaling.mean),
                "deviation": list(self.scaling.deviation),
            },
        }
