"""What is known of a public scene, and short ways to write it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hsi.download import RemoteFile


@dataclass(frozen=True)
class CatalogScene:
    """What is known of a public scene.

    Attributes:
        shape: (rows, cols, bands) of `cube`.
        classes: published number -> full name.
        cube, labels, raw: the files; `raw` has every band of the sensor, where it is published.
        centres: (all bands of the sensor,) nm, of which `removed_bands` (1-based) are not in the
            cube; empty where unknown.
        note: what a user of this scene should know.
        layout: "image", or "unmixing": a matrix of (bands, pixels) with the pixels column by
            column, and abundances or spectra of materials instead of labels.
        more_labels: further labelled pixels, taken where the file is there.
    """

    name: str
    title: str
    sensor: str
    shape: tuple[int, int, int]
    classes: Mapping[int, str]
    cube: RemoteFile
    cube_key: str
    labels: RemoteFile
    labels_key: str
    citation: str
    raw: RemoteFile | None = None
    raw_key: str = ""
    centres: tuple[float, ...] = ()
    removed_bands: tuple[int, ...] = ()
    note: str = ""
    layout: Literal["image", "unmixing"] = "image"
    more_labels: RemoteFile | None = None

    @property
    def wavelengths(self) -> np.ndarray | None:
        """(bands,) nm of the cube, or None where unknown."""
        if not self.centres:
            return None
        return np.delete(np.array(self.centres), np.array(self.removed_bands, int) - 1)

    @property
    def files(self) -> tuple[RemoteFile, RemoteFile]:
        """The two files that make the scene."""
        return self.cube, self.labels


def linear(first: float, last: float, bands: int) -> tuple[float, ...]:
    return tuple(np.linspace(first, last, bands).tolist())


def numbers(*ranges: tuple[int, int]) -> tuple[int, ...]:
    """Whole numbers of inclusive ranges."""
    return tuple(n for first, last in ranges for n in range(first, last + 1))


def named(names: str) -> dict[int, str]:
    """Classes 1, 2 ... from their names in order, with commas between."""
    return dict(enumerate(names.split(", "), start=1))
