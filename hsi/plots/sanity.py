"""The sanity page of a method: does its map notice when the network forgets?

Weights are randomised layer by layer from the output down (the cascading randomisation of Adebayo
et al., "Sanity Checks for Saliency Maps", 2018). The map of a method that explains the network
must lose its likeness to the first one; a method whose map stays shows the input, not the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.colors import SERIES_COLORS, SIGNED, check_colormap, robust_limit, zero_of
from hsi.plots.words import plain, shortened, wrapped

_TILE = 1.15  # inches of a map
_PERCENTILES = (10, 90)
MOST_MAPS = 16
"""In the strip; of more steps, evenly spread ones are shown, the first and the last among them."""


def sanity_page(
    layers: Sequence[str],
    signed: np.ndarray,
    magnitude: np.ndarray,
    maps: np.ndarray,
    *,
    verdict: str = "",
    title: str = "",
    map_label: str = "attribution, sum over bands",
    signed_map: str = SIGNED,
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Similarity to the map of the trained network, and the maps, step by step.

    The first point is the trained network itself: similarity 1. Each map of the strip has its own
    scale, since randomised weights change the size of maps; its limit stands under it.

    Args:
        layers: (steps,) the layer that each step randomises, from the output down; all before it
            stay randomised.
        signed: (steps, n) Spearman rank correlation of each sample's signed map with that of the
            trained network; NaN where a map is dead.
        magnitude: (steps, n) the same of the magnitudes.
        maps: (steps + 1, rows, cols) signed maps of one sample, summed over the bands; the first
            is the trained network's.
        verdict: in words, under the title.
        title: of the figure: method, file.
        map_label: what the strip shows.
        signed_map: colour map of the strip, its middle at zero.

    Raises:
        SettingsError: no step, arrays that do not agree, or no such colour map.
    """
    signed, magnitude = np.asarray(signed, float), np.asarray(magnitude, float)
    maps, steps = np.asarray(maps), len(layers)
    if not steps or signed.ndim != 2 or signed.shape != magnitude.shape or len(signed) != steps:
        raise SettingsError(
            f"Expected similarities of (steps, samples) for {steps} steps; "
            f"got shapes {signed.shape} and {magnitude.shape}."
        )
    if maps.ndim != 3 or len(maps) != steps + 1:
        raise SettingsError(
            f"Expected {steps + 1} maps, (steps + 1, rows, cols); got shape {maps.shape}."
        )
    check_colormap(signed_map)
    shown = np.unique(np.round(np.linspace(0, steps, min(steps + 1, MOST_MAPS))).astype(int))
    aspect = min(2.0, max(0.5, maps.shape[1] / maps.shape[2]))
    strip = _TILE * aspect + 0.75
    figure = new_figure(max(7.5, len(shown) * (_TILE + 0.08) + 1.0), 4.1 + strip + 1.0)
    top, below = figure.subfigures(2, 1, height_ratios=[4.1, strip], squeeze=False)[:, 0]
    _draw_lines(top.subplots(), layers, signed, magnitude)
    _draw_strip(below, layers, maps, shown, map_label, signed_map)
    words = wrapped(f"{title}\n{verdict}".strip(), figure.get_figwidth(), size=12.5)
    if words:
        figure.suptitle(words, fontsize=12)
    skipped = f"Maps of {len(shown)} of {steps + 1} steps." if len(shown) < steps + 1 else ""
    said = (
        "Weights randomised from the output down to the named layer (Adebayo et al. 2018).",
        skipped, zero_of(signed_map), note,
    )  # fmt: skip
    add_note(figure, "  ".join(part for part in said if part), synthetic=synthetic)
    return figure


def _draw_lines(
    axes: Axes, layers: Sequence[str], signed: np.ndarray, magnitude: np.ndarray
) -> None:
    places = np.arange(len(layers) + 1)
    series = (("signed maps", signed, "o", "-"), ("magnitudes", magnitude, "s", "--"))
    for place, (label, values, marker, style) in enumerate(series):
        color = SERIES_COLORS[place]
        whole = np.concatenate([np.ones((1, values.shape[1])), values])
        known = np.isfinite(whole).any(axis=1)
        x = places[known]
        rows = whole[known]
        low, high = np.nanpercentile(rows, _PERCENTILES, axis=1)
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
        axes.plot(x, np.nanmean(rows, axis=1), marker=marker, linestyle=style, color=color,
                  markersize=5, linewidth=1.6, label=f"{label}: mean")  # fmt: skip
    axes.axhline(0, color="black", linewidth=1.0, label="_floor")
    axes.text(
        0.005, 0.01, "no likeness", transform=axes.get_yaxis_transform(), ha="left", va="bottom",
        fontsize=8.5,
    )  # fmt: skip
    lowest = float(np.nanmin([-0.2, *signed.ravel(), *magnitude.ravel()]))
    axes.set(xlim=(-0.4, len(layers) + 0.4), ylim=(max(-1.0, lowest) - 0.05, 1.05))
    axes.set_ylabel("Spearman rank correlation\nwith the trained network's map", fontsize=10)
    names = ["trained", *(shortened(name, 24) for name in layers)]
    every = max(1, -(-len(names) // 40))
    axes.set_xticks(places[::every], names[::every], rotation=35, ha="right",
                    rotation_mode="anchor", fontsize=9)  # fmt: skip
    axes.set_xlabel("randomised from the output down to", fontsize=10)
    axes.tick_params(axis="y", labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E3E3E3", linewidth=0.7)
    axes.set_axisbelow(True)
    count = signed.shape[1]
    areas = f"areas: {_PERCENTILES[0]}th to {_PERCENTILES[1]}th percentile of {count} samples"
    handles, labels = axes.get_legend_handles_labels()
    if count > 1:
        handles.append(Patch(facecolor="#BBBBBB"))
        labels.append(areas)
    # Above the axes: the line of a method that fails runs through every corner of them.
    axes.legend(handles, labels, fontsize=9, frameon=False, loc="lower left", ncols=3,
                bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2)  # fmt: skip


def _draw_strip(
    part: SubFigure,
    layers: Sequence[str],
    maps: np.ndarray,
    shown: np.ndarray,
    label: str,
    colormap: str,
) -> None:
    part.suptitle(
        plain(f"{label}; each map on its own scale, from −limit to +limit"), fontsize=9.5, x=0.01,
        ha="left",
    )  # fmt: skip
    tiles = part.subplots(1, len(shown), squeeze=False)[0]
    for axes, step in zip(tiles, shown, strict=True):
        values = maps[step]
        limit = robust_limit([values], percentile=100)
        axes.imshow(values, vmin=-limit, vmax=limit, cmap=colormap, interpolation="nearest")
        axes.set(xticks=[], yticks=[], label=f"step {step}")
        name = "trained" if step == 0 else _two_lines(layers[step - 1], 15)
        axes.set_title(name, fontsize=8, pad=3)
        axes.set_xlabel(f"limit {limit:.2g}" if values.any() else "DEAD: all zero", fontsize=8.5)


def _two_lines(name: str, characters: int) -> str:
    """A name over a small map, broken where it must be: its middle may tell it apart."""
    if len(name) <= characters:
        return plain(name)
    return (
        shortened(name[:characters], characters) + "\n" + shortened(name[characters:], characters)
    )
