"""A scene: the whole hyperspectral image with everything that is known about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hsi.errors import DataError
from hsi.georeference import Georeference

MOST_CLASSES = 255
"""A label map with more values than this is taken for something else (a band, an index)."""
FEW_BANDS = 10
"""So many bands with bad values can be left out; with more, the pixels are at fault."""
NO_DATA = -1
"""Stands in maps of classes for a pixel without data."""
CHUNK_BYTES = 1 << 24
"""Of a cube, looked at in one piece: the cube may be larger than the memory."""


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
        georeference: the grid of the pixels on the Earth, or None.
        bad_bands: 1-based numbers, of the cube, of bands that its file marks as bad.
        no_data_value: what pixels without data hold, as the file says, or None.
        no_data: (rows, cols) bool, the pixels without data; None before `mask_no_data`, or where
            there are none. They have no label.
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
    georeference: Georeference | None = None
    bad_bands: tuple[int, ...] = ()
    no_data_value: float | None = None
    no_data: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.cube.ndim != 3:
            raise DataError(
                f"{self.name}: expected a cube of (rows, cols, bands), got shape {self.cube.shape}."
            )
        if self.labels.shape != self.cube.shape[:2]:
            raise DataError(
                f"{self.name}: expected labels of {self.rows} x {self.cols} pixels like the cube, "
                f"got shape {self.labels.shape}; check that both are of one scene "
                "and not transposed."
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
        numbers = np.asarray(self.classes, self.labels.dtype)  # ascending, of any size
        if not len(numbers):
            return np.full(self.labels.shape, -1, np.int32)
        places = np.searchsorted(numbers, self.labels).clip(max=len(numbers) - 1)
        return np.where(numbers[places] == self.labels, places, -1).astype(np.int32)

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
                f"{self.name}: cannot drop {f'band {outside[0]}' if outside else 'every band'}; "
                f"expected numbers from 1 to {self.bands}, with at least one band left."
            )
        kept = np.setdiff1d(np.arange(self.bands), np.asarray(numbers) - 1)
        sensor_bands = self.sensor_bands()
        bad = np.flatnonzero(np.isin(kept + 1, self.bad_bands)) + 1
        return replace(
            self,
            cube=self.cube[:, :, kept],
            bad_bands=tuple(bad.tolist()),
            wavelengths=None if self.wavelengths is None else self.wavelengths[kept],
            removed_bands=tuple(
                sorted({*self.removed_bands, *(int(sensor_bands[n - 1]) for n in numbers)})
            ),
        )

    def mask_no_data(self, *, dropping: Sequence[int] = ()) -> Scene:
        """The same scene with `no_data` found, see `without_data`, and these pixels unlabelled.

        Args:
            dropping: 1-based numbers of bands that `drop_bands` will leave out; not looked at.
        """
        if self.no_data_value is None and self.cube.dtype.kind != "f":
            return self
        kept = np.setdiff1d(np.arange(self.bands), np.asarray(dropping, int) - 1)
        if not kept.size:
            return self  # which `drop_bands` refuses
        empty = np.zeros(self.labels.shape, bool)
        for row, chunk in _row_chunks(self.cube):
            looked_at = chunk if len(kept) == self.bands else chunk[:, :, kept]
            empty[row : row + len(chunk)] = without_data(looked_at, self.no_data_value)
        if not empty.any():
            return self
        return replace(self, no_data=empty, labels=np.where(empty, 0, self.labels))

    def fill_no_data(self, spectrum: np.ndarray) -> Scene:
        """The same scene with this spectrum, (bands,), in every pixel without data.

        The patches of their neighbours hold it then. A cube of whole numbers becomes one of
        floats, since the spectrum need be neither whole nor positive.
        """
        if self.no_data is None:
            return self
        cube = np.array(self.cube, np.result_type(self.cube, np.float32))
        cube[self.no_data] = spectrum
        return replace(self, cube=cube)

    @property
    def has_data(self) -> np.ndarray:
        """(rows, cols) bool: every pixel, but for those without data."""
        return np.ones(self.labels.shape, bool) if self.no_data is None else ~self.no_data

    def marked(self, classes: np.ndarray) -> np.ndarray:
        """A map (rows, cols) of classes, with `NO_DATA` in every pixel without data."""
        return np.where(self.has_data, classes, NO_DATA)

    def sensor_bands(self) -> np.ndarray:
        """The 1-based number, in the sensor's own list, of each band of the cube; (bands,) int."""
        numbers = np.arange(1, self.bands + len(self.removed_bands) + 1)
        return np.setdiff1d(numbers, np.asarray(self.removed_bands, int))[: self.bands]

    def check(self, *, dropping: Sequence[int] = ()) -> None:
        """Refuse what no network can be trained on; reads the cube in chunks of rows.

        Args:
            dropping: 1-based numbers of bands that `drop_bands` will leave out: they may hold
                anything, and the advice names them along with the bands that are found.

        Raises:
            DataError: values that are not real numbers, no labelled pixel, NaN or infinite values,
                or a band with one value in every pixel.
        """
        if self.cube.dtype.kind not in "uif":
            what = "complex numbers" if self.cube.dtype.kind == "c" else f"type {self.cube.dtype}"
            raise DataError(
                f"{self.name}: the cube holds {what}; expected real numbers: "
                "save it as integers or floats."
            )
        if not (self.labels > 0).any():
            without = "" if self.no_data is None else f", {self.no_data.sum()} hold no data"
            raise DataError(
                f"{self.name}: no pixel is labelled, all {self.labels.size} are 0{without}; "
                "expected class numbers from 1: name another label map with --labels."
            )
        low, high = _extremes(self.cube, self.no_data)
        looked_at = ~np.isin(np.arange(1, self.bands + 1), np.asarray(dropping, int))
        finite = np.isfinite(low) & np.isfinite(high)
        if (bad := np.flatnonzero(looked_at & ~finite)).size:
            raise DataError(self._not_finite_text(bad, dropping))
        if (same := np.flatnonzero(looked_at & finite & (low == high))).size:
            several = f" ({len(same)} such bands)" if len(same) > 1 else ""
            raise DataError(
                f"{self.name}: band {same[0] + 1} is {low[same[0]]} in every pixel{several}; "
                + (self._drop_text(same, dropping) or "no band would be left: is this the cube?")
            )

    def _not_finite_text(self, bad: np.ndarray, dropping: Sequence[int]) -> str:
        """How many values of these bands (from 0) are not finite, where, and what to do."""
        count, first = 0, None
        for row, chunk in _row_chunks(self.cube):
            wrong = ~np.isfinite(chunk[:, :, bad])
            if self.no_data is not None:
                wrong[self.no_data[row : row + len(chunk)]] = False
            count += int(wrong.sum())
            if first is None and wrong[:, :, 0].any():
                down, col = np.argwhere(wrong[:, :, 0])[0]
                first = f"{row + down},{col}"
        advice = self._drop_text(bad, dropping) if len(bad) <= FEW_BANDS else ""
        return (
            f"{self.name}: {count} NaN or infinite values in {len(bad)} of {self.bands} bands, the "
            f"first in band {bad[0] + 1} at pixel {first} (row,col from 0); "
            + (advice or "fill them or cut these pixels off, and save the scene again.")
        )

    def _drop_text(self, found: np.ndarray, dropping: Sequence[int]) -> str:
        """The option that leaves these bands (from 0) out too; "" where none would be left."""
        numbers = sorted({*dropping, *(int(band) + 1 for band in found)})
        if len(numbers) >= self.bands:
            return ""
        return f"leave bands out with --drop_bands {','.join(map(str, numbers))}."


def _row_chunks(cube: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The first row and the rows of each piece, (some rows, cols, bands)."""
    rows = max(1, CHUNK_BYTES // max(1, cube[:1].nbytes))
    for start in range(0, len(cube), rows):
        yield start, np.asarray(cube[start : start + rows])


def without_data(pixels: np.ndarray, value: float | None) -> np.ndarray:
    """Where pixels hold no data: (..., bands) of any real type -> (...) bool.

    That is where every band is NaN or holds `value`. Any band is enough where that is not 0: 0 may
    be a dark pixel's count, -9999 or a declared NaN is none.
    """
    empty: np.ndarray = np.asarray(holds(pixels, np.nan).all(axis=-1))
    if value is None:
        return empty
    marked = holds(pixels, value)
    return empty | (marked.all(axis=-1) if value == 0 else marked.any(axis=-1))


def holds(values: np.ndarray, value: float) -> np.ndarray:
    """Where values of any real type are this one, which may be NaN or none that they can be."""
    same: np.ndarray
    if values.dtype.kind == "f":
        same = np.isnan(values) if np.isnan(value) else np.equal(values, value)
    elif float(value).is_integer():
        same = np.equal(values, int(value))
    else:
        same = np.zeros(values.shape, bool)
    return same


def _extremes(cube: np.ndarray, without: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest value of each band, two arrays (bands,); NaN where a band holds one.

    They tell whether a band is finite as well, so that no second pass is needed for it. Pixels of
    `without`, (rows, cols) bool, do not count.
    """
    lows, highs = [], []
    for row, chunk in _row_chunks(cube):
        if without is not None:
            chunk = chunk[~without[row : row + len(chunk)]][None]
        if chunk.shape[1]:
            lows.append(chunk.min(axis=(0, 1)))
            highs.append(chunk.max(axis=(0, 1)))
    return np.min(lows, axis=0), np.max(highs, axis=0)
