"""A scene: the whole hyperspectral image with everything that is known about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hsi.errors import DataError

MOST_CLASSES = 255
"""A label map with more values than this is taken for something else (a band, an index)."""


@dataclass(frozen=True)
class Scene:
    """A hyperspectral image, its labels and what is known of both.

    Attributes:
        name: short name, as used in `--dataset` and in folder names.
        cube: (rows, cols, bands), any real type, as in the file; may be memory-mapped.
        labels: (rows, cols) integers; 0 is unlabelled, other values are the published numbers.
        class_names: published number -> full name, for every class present in `labels`.
        wavelengths: (bands,) band centres in nm, or None where unknown.
        removed_bands: 1-based numbers, in the sensor's own band list, of bands not in the cube.
        sensor: for example "AVIRIS"; "" where unknown.
        source: where the data came from: citation, URL or path.
        sha256: hash of the data itself, or of its files; "" where not computed.
        synthetic: True for a generated scene; every output then says so.
        wavelengths_approximate: True where the wavelengths are a linear approximation.
    """

    name: str
    cube: np.ndarray
    labels: np.ndarray
    class_names: Mapping[int, str] = field(default_factory=dict)
    wavelengths: np.ndarray | None = None
    removed_bands: tuple[int, ...] = ()
    sensor: str = ""
    source: str = ""
    sha256: str = ""
    synthetic: bool = False
    wavelengths_approximate: bool = False

    def __post_init__(self) -> None:
        if self.cube.ndim != 3:
            raise DataError(
                f"{self.name}: expected a cube of (rows, cols, bands), got shape {self.cube.shape}."
            )
        if self.labels.shape != self.cube.shape[:2]:
            raise DataError(
                f"{self.name}: expected labels of {self.rows} x {self.cols} pixels like the cube, "
                f"got shape {self.labels.shape}; check that both are of one scene and not transposed."
            )
        if self.wavelengths is not None and len(self.wavelengths) != self.bands:
            raise DataError(
                f"{self.name}: expected {self.bands} wavelengths, one per band, "
                f"got {len(self.wavelengths)}."
            )
        if len(self.classes) > MOST_CLASSES:
            raise DataError(
                f"{self.name}: expected at most {MOST_CLASSES} classes, the labels hold "
                f"{len(self.classes)} different values; is this a label map?"
            )
        names = {c: self.class_names.get(c, f"class {c}") for c in self.classes}
        object.__setattr__(self, "class_names", names)

    @property
    def rows(self) -> int:
        return self.cube.shape[0]

    @property
    def cols(self) -> int:
        return self.cube.shape[1]

    @property
    def bands(self) -> int:
        return self.cube.shape[2]

    @property
    def classes(self) -> tuple[int, ...]:
        """The published numbers that occur, ascending; class index i of a model is classes[i]."""
        values = np.unique(self.labels)
        return tuple(int(v) for v in values if v > 0)

    def class_indices(self) -> np.ndarray:
        """Labels as a model sees them: (rows, cols) int32, 0..n-1, and -1 where unlabelled."""
        table = np.full(max(self.classes, default=0) + 1, -1, np.int32)
        table[list(self.classes)] = np.arange(len(self.classes), dtype=np.int32)
        return table[np.clip(self.labels, 0, None)]

    def keep_classes(self, wanted: Sequence[int]) -> Scene:
        """The same scene with every other class unlabelled.

        Raises:
            DataError: a wanted number does not occur in the labels.
        """
        missing = [c for c in wanted if c not in self.classes]
        if missing:
            raise DataError(
                f"{self.name}: no pixel of class {missing[0]}; "
                f"the scene has {', '.join(map(str, self.classes))}."
            )
        return replace(self, labels=np.where(np.isin(self.labels, wanted), self.labels, 0))

    def drop_bands(self, numbers: Sequence[int]) -> Scene:
        """The same scene without the bands of these 1-based numbers (of the cube, not the sensor).

        Raises:
            DataError: a number outside 1..bands, or no band would be left.
        """
        outside = [n for n in numbers if not 1 <= n <= self.bands]
        if outside or len(set(numbers)) >= self.bands:
            raise DataError(
                f"{self.name}: cannot drop band {outside[0] if outside else 'every band'}; "
                f"expected numbers from 1 to {self.bands}, with at least one band left."
            )
        kept = np.setdiff1d(np.arange(self.bands), np.asarray(numbers) - 1)
        sensor_bands = self.sensor_bands()
        return replace(
            self,
            cube=self.cube[:, :, kept],
            wavelengths=None if self.wavelengths is None else self.wavelengths[kept],
            removed_bands=tuple(
                sorted({*self.removed_bands, *(int(sensor_bands[n - 1]) for n in numbers)})
            ),
        )

    def sensor_bands(self) -> np.ndarray:
        """The 1-based number, in the sensor's own list, of each band of the cube; (bands,) int."""
        numbers = np.arange(1, self.bands + len(self.removed_bands) + 1)
        return np.setdiff1d(numbers, np.asarray(self.removed_bands, int))[: self.bands]
