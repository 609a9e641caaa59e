"""CKA as heat maps: every layer of a network against every layer of another, or of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.colors import MISSING, SEQUENTIAL, check_colormap
from hsi.plots.words import shortened, wrapped

_CELL, _SMALL_CELL = 0.42, 0.22  # inches of a cell with its number in it, and of one without
_WRITTEN = 14  # most layers along an axis with numbers in the cells
_LABELLED = 40  # most names along an axis
_LEAST, _MOST = 2.4, 7.0  # inches of a map
_LETTERS = 11  # of a label, for an inch of its axis
_LIGHT = 0.5  # luma of a cell, from which on its number is black


@dataclass(frozen=True, eq=False)
class CkaMap:
    """One heat map.

    Attributes:
        values: (a, b) CKA, at most 1; NaN where unknown.
        rows: (a,) names of layers, the first layer at the bottom.
        columns: (b,) names of layers, the first layer on the left.
        row_label, column_label: the network that each axis belongs to.
        title: of the map.
    """

    values: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    row_label: str = ""
    column_label: str = ""
    title: str = ""


def cka_page(
    maps: Sequence[CkaMap],
    *,
    title: str = "",
    colormap: str = SEQUENTIAL,
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Heat maps side by side, all on the scale 0 to 1, with the numbers where there is room.

    Unbiased estimates can fall a little below 0; they are drawn as 0 and written as they are.

    Args:
        maps: at least one.
        title: of the figure.
        colormap: of matplotlib; the default rises in lightness, for readers who see colours less.

    Raises:
        SettingsError: no map, names that do not fit one, or no such colour map.
    """
    if not maps:
        raise SettingsError("Expected at least one CKA map to draw, got none.")
    for each in maps:
        if np.shape(each.values) != (len(each.rows), len(each.columns)) or not np.size(each.values):
            raise SettingsError(
                f"Expected CKA of {len(each.rows)} x {len(each.columns)} layers, got shape "
                f"{np.shape(each.values)}."
            )
    check_colormap(colormap)
    widths = [_inches(len(each.columns)) for each in maps]
    height = max(_inches(len(each.rows)) for each in maps)
    figure = new_figure(sum(widths) + 1.5 * len(maps) + 0.9, height + 2.3)
    tiles = figure.subplots(1, len(maps), squeeze=False, width_ratios=widths)[0]
    for axes, each in zip(tiles, maps, strict=True):
        image = _draw(axes, each, colormap)
    bar = figure.colorbar(image, ax=list(tiles), fraction=0.05, pad=0.02)
    bar.set_label("linear CKA (1: the same up to rotation and scale)", fontsize=9)
    bar.ax.tick_params(labelsize=8.5)
    words = wrapped(title, figure.get_figwidth(), size=12)
    if words:
        figure.suptitle(words, fontsize=12)
    unknown = any(not np.isfinite(each.values).all() for each in maps)
    said = (
        "Linear CKA over minibatches, unbiased (Nguyen et al. 2021); rows and columns from the "
        "input on.",
        "Grey: a layer that is constant." if unknown else "",
        note,
    )
    add_note(figure, "  ".join(part for part in said if part), synthetic=synthetic)
    return figure


def _inches(count: int) -> float:
    cell = _CELL if count <= _WRITTEN else _SMALL_CELL
    return min(_MOST, max(_LEAST, cell * count))


def _draw(axes: Axes, each: CkaMap, colormap: str) -> AxesImage:
    values = np.asarray(each.values, float)
    colors = matplotlib.colormaps[colormap].with_extremes(bad=MISSING)
    image = axes.imshow(
        np.ma.masked_invalid(values), vmin=0, vmax=1, cmap=colors, origin="lower",
        interpolation="nearest", aspect="equal",
    )  # fmt: skip
    for axis, names, turned in ((axes.xaxis, each.columns, True), (axes.yaxis, each.rows, False)):
        every = max(1, -(-len(names) // _LABELLED))
        texts = [shortened(name, 26) for name in names][::every]
        axis.set_ticks(
            np.arange(0, len(names), every), texts, fontsize=8, rotation=90 if turned else 0
        )
    for put, label, names in (
        (axes.set_xlabel, each.column_label, each.columns),
        (axes.set_ylabel, each.row_label, each.rows),
    ):
        put(shortened(label, int(_LETTERS * _inches(len(names)))), fontsize=9.5)
    if each.title:
        inches = _inches(len(each.columns)) + 1.0
        axes.set_title(wrapped(each.title, inches, size=10), fontsize=10)
    axes.tick_params(length=2)
    if max(values.shape) <= _WRITTEN:
        _write(axes, values, image)
    return image


def _write(axes: Axes, values: np.ndarray, image: AxesImage) -> None:
    """The number of each cell in it, in the colour that can be read there."""
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            light = 0.299 * red + 0.587 * green + 0.114 * blue > _LIGHT
            text = f"{value:.2f}".replace("-", "−").replace("0.", ".", 1)
            axes.text(
                column, row, text, ha="center", va="center", fontsize=7.5,
                color="black" if light else "white",
            )  # fmt: skip
