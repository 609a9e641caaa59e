"""The filters of a convolution layer: what each of its channels looks for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.band_axis import GAP_NOTE, BandAxis, band_axis, mark_gaps
from hsi.plots.colors import SIGNED, check_colormap, signed_norm, zero_of
from hsi.plots.words import number_text, wrapped

MOST_FILTERS = 32
"""Drawn in a figure; of more, those with the largest norm."""

_MOST_PLANES = 4  # input channels whose planes are drawn one by one; more are a heat map
_RGB = 3


def filter_sheet(
    kernels: np.ndarray,
    *,
    layer: str = "",
    bands: Sequence[int] | np.ndarray | None = None,
    wavelengths: Sequence[float] | np.ndarray | None = None,
    unit: str = "input channel",
    most: int = MOST_FILTERS,
    title: str = "",
    signed_map: str = SIGNED,
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """The filters of a layer, all on one scale, symmetric about zero.

    - From 3 channels: colour tiles, mid-grey zero, a channel at full light the largest weight.
    - From 1, 2 or 4 channels: a plane for each, one below the other.
    - From more: a heat map for each filter, the channels (bands) along x and the places of the
      kernel along y, row by row.
    - In three dimensions: the same heat map with the depth along x, channel after channel.

    Args:
        kernels: (height, width, in, out) or (height, width, depth, in, out) weights; (length, in,
            out) and those of a dense layer, (in, out), count as of height 1.
        layer: its name, for the title.
        bands, wavelengths: (in,), of the first layer, or (depth,) of a 3-D layer of one channel:
            the x axis; missing bands are hatched. None counts the channels from 1.
        unit: what an input channel is: "band" and "component" for first layers.
        most: filters to draw; of more, those with the largest norm, in the order of the layer.
            Filters are counted from 1.
        title: of the figure: the model file.
        signed_map: colour map, its middle at zero.

    Raises:
        SettingsError: another shape, `most` below 1, or no such colour map.
    """
    kernels = np.asarray(kernels)
    if kernels.ndim not in (2, 3, 4, 5) or not kernels.size:
        raise SettingsError(
            f"Expected kernels of layer {layer!r} as (height, width, in, out) or (height, width, "
            f"depth, in, out), got shape {kernels.shape}."
        )
    if kernels.ndim < 4:
        kernels = kernels.reshape((1,) * (4 - kernels.ndim) + kernels.shape)
    if most < 1:
        raise SettingsError(f"Expected at least 1 filter to draw, got {most}.")
    check_colormap(signed_map)
    shown, norms = _strongest(kernels, most)
    deep = kernels.ndim == 5
    norm = signed_norm([kernels])
    gaps = False
    if not deep and kernels.shape[2] == _RGB:
        figure = _colour_tiles(kernels, shown, float(norm.vmax or 1.0))
    elif not deep and kernels.shape[2] <= _MOST_PLANES:
        figure = _planes(kernels, shown, norm, signed_map)
    else:
        flat = _places_by_channels(kernels)
        axis = _channel_axis(kernels, bands, wavelengths, unit)
        figure = _heat_maps(flat, shown, axis, norm, signed_map, kernels.shape[:2])
        gaps = bool(axis.gaps)
    size = " x ".join(map(str, kernels.shape[:-2]))
    count = kernels.shape[-1]
    which = f"{count} filters"
    if len(shown) < count:
        which = f"{len(shown)} of {count} filters (the largest norms)"
    dead = int((norms == 0).sum())
    lines = f"{layer}: {which}" if layer else which
    lines += f", {size} weights for each of {kernels.shape[-2]} channels"
    lines += f"; {dead} of {count} all zero" if dead else ""
    figure.suptitle(
        wrapped(f"{title}\n{lines}".strip(), figure.get_figwidth(), size=12.5), fontsize=12
    )
    rgb = not deep and kernels.shape[2] == _RGB
    said = (
        GAP_NOTE if gaps else "",
        f"Red, green and blue are the input channels: mid-grey is zero, full light "
        f"{number_text(float(norm.vmax or 0.0))}." if rgb else zero_of(signed_map),
        note,
    )  # fmt: skip
    add_note(figure, "  ".join(part for part in said if part), synthetic=synthetic)
    return figure


def _strongest(kernels: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The filters to draw, ascending, and the norm of every filter."""
    norms = np.sqrt((np.asarray(kernels, float) ** 2).sum(axis=tuple(range(kernels.ndim - 1))))
    return np.sort(np.argsort(-norms, kind="stable")[:most]), norms


def _places_by_channels(kernels: np.ndarray) -> np.ndarray:
    """(places, channels, out); of 3-D kernels the channels are depth after depth, by channel."""
    if kernels.ndim == 5:
        kernels = np.moveaxis(kernels, 2, 3)
    return kernels.reshape(kernels.shape[0] * kernels.shape[1], -1, kernels.shape[-1])


def _channel_axis(
    kernels: np.ndarray,
    bands: Sequence[int] | np.ndarray | None,
    wavelengths: Sequence[float] | np.ndarray | None,
    unit: str,
) -> BandAxis:
    channels = int(np.prod(kernels.shape[2:-1]))
    if kernels.ndim == 5:
        several = kernels.shape[3] > 1
        unit = "depth, input channel after input channel" if several else f"depth ({unit})"
    return band_axis(channels, bands=bands, wavelengths=wavelengths, unit=unit)


def _columns(tiles: int, most: int) -> tuple[int, int]:
    """Columns and lines of a grid of tiles, wider than high."""
    columns = min(tiles, most, max(4, math.ceil(math.sqrt(1.6 * tiles))))
    return columns, -(-tiles // columns)


def _colour_tiles(kernels: np.ndarray, shown: np.ndarray, limit: float) -> Figure:
    columns, lines = _columns(len(shown), 12)
    figure = new_figure(max(6.0, 0.9 * columns + 0.4), 1.12 * lines + 1.2)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, place in zip(axes, shown, strict=False):
        picture = np.clip(0.5 + kernels[..., place] / (2 * limit), 0, 1)
        axis.imshow(picture, interpolation="nearest")
        _name(axis, int(place), dead=not kernels[..., place].any())
    _hide(axes[len(shown) :])
    return figure


def _planes(kernels: np.ndarray, shown: np.ndarray, norm: Normalize, colormap: str) -> Figure:
    inputs = kernels.shape[2]
    columns, lines = _columns(len(shown), 12)
    figure = new_figure(max(6.0, 0.9 * columns + 1.2), (0.92 * inputs + 0.2) * lines + 1.2)
    grid = figure.subplots(lines * inputs, columns, squeeze=False)
    for place, number in enumerate(shown):
        line, column = divmod(place, columns)
        for channel in range(inputs):
            axis = grid[line * inputs + channel, column]
            image = axis.imshow(
                kernels[:, :, channel, number], norm=norm, cmap=colormap, interpolation="nearest"
            )
            _name(axis, int(number) if not channel else None, dead=not kernels[..., number].any())
            if column == 0 and inputs > 1:
                axis.set_ylabel(f"from {channel + 1}", fontsize=8.5)
    used = len(shown) - (lines - 1) * columns
    _hide(grid[(lines - 1) * inputs :, used:].ravel())
    _scale(figure, image, list(grid.ravel()))
    return figure


def _heat_maps(
    flat: np.ndarray,
    shown: np.ndarray,
    axis: BandAxis,
    norm: Normalize,
    colormap: str,
    size: tuple[int, ...],
) -> Figure:
    places, channels = flat.shape[:2]
    columns = 1 if len(shown) == 1 else 2 if channels > 60 else min(4, len(shown))
    lines = -(-len(shown) // columns)
    height = min(2.2, max(0.55, 0.075 * places)) + 0.28
    figure = new_figure(12.0, lines * height + 1.6)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, number in zip(panels, shown, strict=False):
        values = flat[:, axis.order, number]
        for run in axis.runs:
            image = panel.pcolormesh(
                axis.edges(run), np.arange(places + 1) - 0.5, values[:, run], norm=norm,
                cmap=colormap, rasterized=True,
            )  # fmt: skip
        mark_gaps(panel, axis)
        dead = "" if values.any() else "   zero"
        panel.set_title(f"{number + 1}{dead}", fontsize=9, pad=2, loc="left")
    panels[0].set(xlim=axis.limits, ylim=(places - 0.5, -0.5))
    _name_places(panels, len(shown), columns, axis, size)
    _hide(panels[len(shown) :])
    _scale(figure, image, list(panels))
    return figure


def _name_places(
    panels: np.ndarray, used: int, columns: int, axis: BandAxis, size: tuple[int, ...]
) -> None:
    """Rows of the kernel along y at the left, channels along x under the lowest panels."""
    middles = np.arange(size[0]) * size[1] + (size[1] - 1) / 2
    every = max(1, -(-size[0] // 5))
    for place, panel in enumerate(panels[:used]):
        for row in range(1, size[0]):
            panel.axhline(row * size[1] - 0.5, color="#777777", linewidth=0.5)
        panel.set_yticks(middles[::every], [f"row {r + 1}" for r in range(0, size[0], every)])
        panel.tick_params(labelsize=8, length=2, labelleft=place % columns == 0)
        if place >= used - columns:
            panel.set_xlabel(axis.label, fontsize=9.5)
            panel.tick_params(labelbottom=True)
            panel.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 2.5, 5, 10]))


def _name(axis: Axes, number: int | None, *, dead: bool) -> None:
    axis.set(xticks=[], yticks=[])
    if number is not None:
        axis.set_title(f"{number + 1}{' zero' if dead else ''}", fontsize=8.5, pad=2)


def _hide(axes: np.ndarray) -> None:
    for axis in axes:
        axis.set_axis_off()


def _scale(figure: Figure, image: ScalarMappable, panels: list[Axes]) -> None:
    bar = figure.colorbar(image, ax=panels, fraction=0.03, pad=0.015, aspect=25)
    bar.set_label("weight", fontsize=10)
    bar.ax.tick_params(labelsize=9)
