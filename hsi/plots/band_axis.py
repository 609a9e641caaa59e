"""The axis of bands: wavelengths where they are known, with gaps where bands are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hsi.errors import SettingsError

_WIDE = 3.0  # times the usual spacing: bands are missing there, even where nobody says so
_ENOUGH = 30  # bands; of fewer (a camera's) the spacing has no usual value


@dataclass(frozen=True, eq=False)
class BandAxis:
    """Where the channels of an input lie on the x axis.

    Attributes:
        order: (channels,) channels in the order of the axis: spectrometers may overlap.
        positions: (channels,) of the ordered channels, ascending: nm, or the numbers.
        starts: indices into the order at which a run without gaps begins; the first is 0.
        label: of the axis.
    """

    order: np.ndarray
    positions: np.ndarray
    starts: tuple[int, ...]
    label: str

    @property
    def runs(self) -> list[slice]:
        """The runs without gaps, as slices of the ordered channels."""
        ends = (*self.starts[1:], len(self.order))
        return [slice(a, b) for a, b in zip(self.starts, ends, strict=True)]

    def broken(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x and y of a line with NaN in every gap; both (channels + gaps,).

        Args:
            values: (channels,), in the order of the input.
        """
        x, y = self.positions.astype(float), np.asarray(values, float)[self.order]
        gaps = list(self.starts[1:])
        middles = [(x[i - 1] + x[i]) / 2 for i in gaps]
        return np.insert(x, gaps, middles), np.insert(y, gaps, np.nan)

    def edges(self, run: slice) -> np.ndarray:
        """The borders of the cells of a run, one more than it has channels."""
        x = self.positions[run].astype(float)
        if len(x) == 1:
            half = self.spacing / 2
            return np.array([x[0] - half, x[0] + half])
        middles = (x[:-1] + x[1:]) / 2
        return np.concatenate(([1.5 * x[0] - x[1] / 2], middles, [1.5 * x[-1] - x[-2] / 2]))

    @property
    def spacing(self) -> float:
        """The usual distance of neighbours; 1 where there is one channel."""
        steps = np.diff(self.positions)
        steps = steps[steps > 0]
        return float(np.median(steps)) if steps.size else 1.0

    @property
    def limits(self) -> tuple[float, float]:
        """Of the axis: the outer edges of the outer cells."""
        return float(self.edges(self.runs[0])[0]), float(self.edges(self.runs[-1])[-1])

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """First and last x of every gap."""
        pairs = zip(self.runs, self.runs[1:], strict=False)
        return [(float(self.edges(a)[-1]), float(self.edges(b)[0])) for a, b in pairs]


def band_axis(
    channels: int,
    *,
    bands: Sequence[int] | np.ndarray | None = None,
    wavelengths: Sequence[float] | np.ndarray | None = None,
    unit: str = "band",
) -> BandAxis:
    """The axis of an input's channels.

    Args:
        channels: how many there are.
        bands: (channels,) the number of each; a number left out is a gap. None counts from 1.
        wavelengths: (channels,) nm. If one is not known (NaN), the numbers are the axis.
        unit: "band" or "component".

    Raises:
        SettingsError: as many numbers or wavelengths as there are no channels.
    """
    numbers = np.arange(1, channels + 1) if bands is None else np.asarray(bands)
    for what, given in ((f"{unit} numbers", numbers), ("wavelengths", wavelengths)):
        if given is not None and len(given) != channels:
            raise SettingsError(f"Expected {channels} {what}, got {len(given)}.")
    known = wavelengths is not None and bool(np.isfinite(np.asarray(wavelengths, float)).all())
    along = np.asarray(wavelengths, float) if known else numbers.astype(float)
    order = np.argsort(along, kind="stable")
    positions = along[order]
    # Channels that follow each other in the file, with a number missing between the two.
    jumps = np.flatnonzero(np.diff(numbers[order]) > 1)
    follow = np.diff(order)[jumps] == 1
    gaps = set((jumps[follow] + 1).tolist())
    steps = np.diff(positions)
    if known and channels >= _ENOUGH:
        gaps |= set((np.flatnonzero(steps > _WIDE * np.median(steps)) + 1).tolist())
    label = "wavelength (nm)" if known else unit
    return BandAxis(order, positions, (0, *sorted(gaps)), label)


def draw_line(axes: Axes, axis: BandAxis, values: np.ndarray, **style: Any) -> None:
    """A line over the channels, broken at gaps; a channel alone between two gaps is a dot.

    Args:
        values: (channels,) in the order of the input.
        style: of `Axes.plot`.
    """
    x, y = axis.broken(values)
    (line,) = axes.plot(x, y, **style)
    alone = [run.start for run in axis.runs if run.stop - run.start == 1]
    if alone:
        dots = np.asarray(values, float)[axis.order][alone]
        axes.plot(
            axis.positions[alone], dots, ".", color=line.get_color(), markersize=4, label="_alone"
        )


def fill_between(
    axes: Axes, axis: BandAxis, low: np.ndarray, high: np.ndarray, **style: Any
) -> None:
    """An area over the channels between two lines, both (channels,); broken at gaps."""
    x, bottom = axis.broken(low)
    _, top = axis.broken(high)
    axes.fill_between(x, bottom, top, linewidth=0, **style)


def mark_gaps(axes: Axes, axis: BandAxis) -> None:
    """Hatch the gaps: nothing was measured there, or it was removed."""
    for low, high in axis.gaps:
        if high > low:
            axes.axvspan(
                low, high, facecolor="#F4F4F4", edgecolor="#BBBBBB", hatch="////", linewidth=0,
                zorder=0.5,
            )  # fmt: skip


GAP_NOTE = "Hatched: bands that are not in the data."
