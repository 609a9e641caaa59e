"""What the layers of a network answer to one sample: feature maps as a grid, units as bars."""

from __future__ import annotations

import math
import textwrap

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.colors import SEQUENTIAL, SERIES_COLORS, SIGNED, signed_norm
from hsi.plots.words import plain

MOST_CHANNELS = 64

TITLE_CHARACTERS = 10.5
"""Of a title, that fit in an inch."""


def activation_figure(
    layer: str,
    activation: np.ndarray,
    *,
    title: str = "",
    max_channels: int = MOST_CHANNELS,
    unit_names: list[str] | None = None,
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """The activations of one layer for one sample.

    Args:
        layer: its name, for the title.
        activation: (rows, cols, channels) feature maps, drawn as a grid on one scale; (length,
            channels) likewise as strips; (rows, cols, depth, channels) with a map for each depth
            of each channel; (units,), or maps of 1 x 1, as bars.
        title: of the sample: model file, class, pixel.
        max_channels: where the layer has more, those with the largest mean magnitude are drawn,
            in the order of the layer. Channels are counted from 1.
        unit_names: names of the units of a dense layer, for the bars.

    Raises:
        SettingsError: another shape, or `max_channels` below 1.
    """
    values = np.asarray(activation)
    if values.ndim not in (1, 2, 3, 4) or not values.size:
        raise SettingsError(
            f"Expected activations of layer {layer!r} for one sample, (rows, cols, channels) or "
            f"(units,); got shape {values.shape}."
        )
    if max_channels < 1:
        raise SettingsError(f"Expected at least 1 channel to draw, got {max_channels}.")
    if values.size == values.shape[-1]:  # a map of one pixel is a number: read better as a bar
        figure = _bars(layer, values, unit_names)
    else:
        figure = _grid(layer, _as_maps(values), max_channels)
    lines = [line for part in (title, figure.get_suptitle()) for line in part.splitlines()]
    width = int(TITLE_CHARACTERS * figure.get_figwidth())
    figure.suptitle(plain("\n".join(textwrap.fill(line, width) for line in lines)), fontsize=12)
    add_note(figure, note, synthetic=synthetic)
    return figure


def _as_maps(values: np.ndarray) -> np.ndarray:
    """(rows, cols, maps) of whatever a layer gives for one sample."""
    if values.ndim == 2:
        return values[:, None, :]
    return values.reshape(*values.shape[:2], -1)


def _grid(layer: str, maps: np.ndarray, most: int) -> Figure:
    channels = maps.shape[-1]
    dead = np.asarray(~maps.any(axis=(0, 1)))
    strength = np.abs(np.nan_to_num(maps)).mean(axis=(0, 1))
    shown = np.sort(np.argsort(-strength, kind="stable")[:most])
    columns = min(len(shown), max(4, math.ceil(math.sqrt(1.6 * len(shown)))))
    lines = -(-len(shown) // columns)
    aspect = min(2.0, max(0.5, maps.shape[0] / maps.shape[1]))
    figure = new_figure(
        max(7.5, columns * 0.95 + 1.2), max(2.6, lines * (0.85 * aspect + 0.25) + 1.0)
    )
    axes = np.atleast_1d(figure.subplots(lines, columns, squeeze=False)).ravel()
    signed = bool((maps < 0).any())
    norm = signed_norm([maps]) if signed else Normalize(0, float(np.nanmax(maps)) or 1.0)
    for place, channel in enumerate(shown):
        tile = axes[place]
        image = tile.imshow(
            maps[..., channel],
            norm=norm,
            cmap=SIGNED if signed else SEQUENTIAL,
            interpolation="nearest",
            aspect="auto" if maps.shape[1] == 1 else "equal",
        )
        tile.set(xticks=[], yticks=[])
        tile.set_title(f"{channel + 1}", fontsize=8.5, pad=2)
        if dead[channel]:
            color = "black" if signed else "white"
            tile.text(
                0.5, 0.5, "dead", transform=tile.transAxes, ha="center", va="center",
                fontsize=8.5, color=color,
            )  # fmt: skip
    for tile in axes[len(shown) :]:
        tile.set_axis_off()
    bar = figure.colorbar(image, ax=list(axes), fraction=0.03, pad=0.015)
    bar.set_label("activation", fontsize=10)
    bar.ax.tick_params(labelsize=9)
    size = f"{maps.shape[0]} x {maps.shape[1]}"
    which = f"{channels} channels"
    if len(shown) < channels:
        which = f"{len(shown)} of {channels} channels (the most active)"
    figure.suptitle(
        f"{layer}: {which}, {size} pixels each; "
        f"{int(dead.sum())} of {channels} dead (zero for this sample)"
    )
    return figure


def _bars(layer: str, values: np.ndarray, names: list[str] | None) -> Figure:
    if names is not None and len(names) != len(values):
        raise SettingsError(
            f"Expected {len(values)} unit names for layer {layer!r}, got {len(names)}."
        )
    is_map = values.ndim > 1
    values = values.ravel()
    dead = int((values == 0).sum())
    figure = new_figure(min(14.0, max(7.5, 2.5 + 0.06 * len(values))), 4.2)
    axes = figure.subplots()
    places = np.arange(1, len(values) + 1)
    colors = np.where(values < 0, SERIES_COLORS[0], SERIES_COLORS[1])
    axes.bar(places, values, width=0.85, color=colors)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylabel("activation", fontsize=11)
    axes.set_xlim(0.3, len(values) + 0.7)
    axes.spines[["top", "right"]].set_visible(False)
    if names is not None:
        axes.set_xticks(
            places,
            [plain(name) for name in names],
            rotation=40,
            ha="right",
            rotation_mode="anchor",
            fontsize=9,
        )
    else:
        axes.set_xlabel("channel" if is_map else "unit", fontsize=11)
        if len(values) <= 20:
            axes.set_xticks(places)
    what = "channels of 1 x 1" if is_map else "units"
    figure.suptitle(f"{layer}: {len(values)} {what}, {dead} of them zero for this sample")
    return figure
