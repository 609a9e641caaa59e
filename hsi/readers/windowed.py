"""A raster that is opened and read window by window; the modules of the formats make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hsi.errors import DataError
from hsi.georeference import Georeference
from hsi.scene import holds, without_data

Window = Callable[[slice, slice], np.ndarray]
"""(rows, cols) -> (r, c, bands); the slices have a start and a stop inside the raster."""
WHOLE_BYTES = 1 << 26
"""So much is read in one piece where all of a raster is read."""


@dataclass(frozen=True)
class Raster:
    """An image file, opened: what it says of itself, and its pixels by windows.

    It is not to be sent to other processes: open the file there again.

    Attributes:
        path: the file that was named.
        files: every file that belongs to it, for hashing.
        rows, cols, bands: its size.
        dtype: of what `read` gives: as in the file, or float32 where the file has scale factors,
            which are applied.
        window: how the format reads; use `read`.
        key: the name of the array in the file; "" where the format has none.
        wavelengths: (bands,) band centres in nm, or None where the file does not say.
        georeference: its grid on the Earth, or None.
        no_data: the value of pixels without data in what `read` gives (where scale factors are
            applied, NaN, or the 0 that they leave a 0), or None; see `has_data`.
        bad_bands: 1-based numbers of bands that the file marks as bad.
        default_bands: 1-based numbers of the bands that the file wants drawn as red, green, blue.
        class_names: number -> name, where the file has them.
        class_colors: number -> (red, green, blue), 0..255, where the file has them.
        sensor: "" where the file does not say.
        array: (rows, cols, bands), memory-mapped and read-only, where the format allows it and
            no scale factors are applied; else None.
    """

    path: Path
    files: tuple[Path, ...]
    rows: int
    cols: int
    bands: int
    dtype: np.dtype
    window: Window = field(repr=False)
    key: str = ""
    wavelengths: np.ndarray | None = None
    georeference: Georeference | None = None
    no_data: float | None = None
    bad_bands: tuple[int, ...] = ()
    default_bands: tuple[int, ...] = ()
    class_names: Mapping[int, str] = field(default_factory=dict)
    class_colors: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    sensor: str = ""
    array: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.window, Scaled):
            window = self.window.of_raster(self.bad_bands)
            object.__setattr__(self, "window", window)
            object.__setattr__(self, "no_data", window.marker)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(rows, cols, bands)."""
        return self.rows, self.cols, self.bands

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """The pixels of a window, and no others.

        Args:
            rows, cols: ranges from 0, inside the raster; without a step.

        Returns:
            (r, c, bands) of `dtype`, contiguous; a new array.

        Raises:
            DataError: the file is truncated, corrupt or gone.
            IndexError: a range with a step or outside the raster.
        """
        rows, cols = _range(rows, self.rows, "rows"), _range(cols, self.cols, "columns")
        try:
            found = self.window(rows, cols)
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"{self.path}: truncated or corrupt, or gone: rows {rows.start} to "
                f"{rows.stop - 1} cannot be read ({first_words(error)})."
            ) from error
        return np.array(found, self.dtype, order="C")

    def whole(self) -> np.ndarray:
        """All of it, (rows, cols, bands): memory-mapped where possible, else in memory."""
        if self.array is not None:
            return self.array
        whole = np.empty(self.shape, self.dtype)
        step = max(1, WHOLE_BYTES // max(1, self.cols * self.bands * self.dtype.itemsize))
        for start in range(0, self.rows, step):
            rows = slice(start, min(start + step, self.rows))
            whole[rows] = self.read(rows, slice(0, self.cols))
        return whole

    def has_data(self, pixels: np.ndarray) -> np.ndarray:
        """Where pixels hold data: (..., bands) as `read` gives them, or some -> (...) bool.

        Bands that are left out should not be among them: see `hsi.scene.without_data`.
        """
        return ~without_data(pixels, self.no_data)


def of_array(array: np.ndarray) -> Window:
    """The windows of an array (rows, cols, bands) that is at hand."""
    return lambda rows, cols: array[rows, cols]


@dataclass(frozen=True)
class Scaled:
    """Windows in physical units, made by `scaled`; see there.

    Attributes:
        bad_bands: 1-based numbers; they do not count where a 0 must be in every band.
        zero_stays: a 0 of no data is left a 0, and `marker` says so.
    """

    window: Window
    gain: np.ndarray
    offset: np.ndarray
    no_data: float | None
    bad_bands: tuple[int, ...] = ()
    zero_stays: bool = False

    def of_raster(self, bad_bands: tuple[int, ...]) -> Scaled:
        """The same for a raster, whose user knows which bands are left out: they do not count.

        A 0 of no data that scaling leaves a 0 is therefore left to be found there.
        """
        zero_stays = self.no_data == 0 and not self.offset.any()
        return replace(self, bad_bands=bad_bands, zero_stays=zero_stays)

    @property
    def marker(self) -> float | None:
        """The value of no data after scaling, or None."""
        if self.no_data is None:
            return None
        return 0.0 if self.zero_stays else np.nan

    def __call__(self, rows: slice, cols: slice) -> np.ndarray:
        stored = self.window(rows, cols)
        values = stored * self.gain.astype(np.float32) + self.offset.astype(np.float32)
        values = np.asarray(values, np.float32)
        if self.no_data == 0 and not self.zero_stays:
            values[self._all_zero(stored)] = np.nan
        elif self.no_data:
            values[holds(stored, self.no_data)] = np.nan
        return values

    def _all_zero(self, stored: np.ndarray) -> np.ndarray:
        """Pixels of 0 in every band that is not bad: (r, c, bands) -> (r, c) bool."""
        good = np.setdiff1d(np.arange(stored.shape[-1]), np.asarray(self.bad_bands, int) - 1)
        return without_data(stored[..., good] if good.size else stored, 0.0)


def scaled(window: Window, gain: np.ndarray, offset: np.ndarray, no_data: float | None) -> Scaled:
    """Windows in physical units: stored values x gain + offset; float32, NaN without data.

    Args:
        window: of the stored values.
        gain, offset: (bands,).
        no_data: the stored value of no data; a 0 only in pixels where every band holds it. In a
            `Raster`, bad bands do not count, and without offsets 0 stays, as its `no_data` says.
    """
    return Scaled(window, gain, offset, no_data)


def first_words(error: BaseException) -> str:
    """The first line of whatever a library said."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _range(given: slice, size: int, what: str) -> slice:
    start, stop = given.start or 0, size if given.stop is None else given.stop
    if given.step not in (None, 1) or not 0 <= start < stop <= size:
        raise IndexError(f"{what} {start}:{stop}:{given.step or 1} of {size}")
    return slice(start, stop)
