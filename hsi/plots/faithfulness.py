"""Deletion and insertion curves of variants, with intervals and the floor of random orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.colors import LINE_STYLES, SERIES_COLORS
from hsi.plots.words import shortened, wrapped

if TYPE_CHECKING:
    from hsi.compare.faithfulness import Curve, Faithfulness

_PANEL = 4.0  # inches
_Z = 1.959964
_WORDS = {
    ("deletion", "pixels"): "pixels taken away",
    ("insertion", "pixels"): "pixels put in",
    ("deletion", "bands"): "bands taken away",
    ("insertion", "bands"): "bands put in",
}


def faithfulness_page(
    found: Sequence[Faithfulness],
    *,
    title: str = "",
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """A panel for each kind of curve, a line for each variant, its random order dotted and thin.

    Areas are 95 % intervals of the mean over the samples (normal approximation); the numbers in
    the legend are areas under the curves, and those of random order.

    Args:
        found: of the variants, by one method.
        title: of the figure.

    Raises:
        SettingsError: nothing to draw.
    """
    panels = [key for key in _WORDS if any(each.curve(*key) is not None for each in found)]
    if not panels:
        raise SettingsError("Expected at least one deletion or insertion curve to draw, got none.")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    legend = 0.24 * len(found) + 0.35
    figure = new_figure(_PANEL * 1.25 * columns + 0.4, (_PANEL * 0.8 + legend) * rows + 1.2)
    tiles = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, key in zip(tiles, panels, strict=False):
        _draw(axes, found, key)
    for axes in tiles[len(panels) :]:
        axes.set_axis_off()
    words = wrapped(title, figure.get_figwidth(), size=12)
    if words:
        figure.suptitle(words, fontsize=12)
    baselines = ", ".join(dict.fromkeys(each.baseline for each in found))
    said = (
        f"Deletion and insertion (Petsiuk et al. 2018); what is taken away becomes: {baselines}. "
        "Good explanations fall fast on the left and rise fast on the right.",
        note,
    )
    add_note(figure, "  ".join(part for part in said if part), synthetic=synthetic)
    return figure


def _draw(axes: Axes, found: Sequence[Faithfulness], key: tuple[str, str]) -> None:
    handles: list[Line2D | Patch] = []
    counts = set()
    for place, each in enumerate(found):
        curve = each.curve(*key)
        if curve is None:
            continue
        color = SERIES_COLORS[place % len(SERIES_COLORS)]
        style = LINE_STYLES[place % 3]
        counts.add(len(curve.probabilities))
        mean, half = _interval(curve.probabilities)
        axes.fill_between(
            curve.fractions, mean - half, mean + half, color=color, alpha=0.18, linewidth=0
        )
        (line,) = axes.plot(curve.fractions, mean, color=color, linestyle=style, linewidth=1.8)
        axes.plot(
            curve.fractions, curve.random.mean(axis=0), color=color, linestyle=":", linewidth=1.1
        )
        line.set_label(f"{shortened(each.name, 34)}: {_areas(curve)}")
        handles.append(line)
    handles.append(Line2D([], [], color="#555555", linestyle=":", linewidth=1.1,
                          label="the same in random order"))  # fmt: skip
    if max(counts) > 1:
        sizes = " or ".join(map(str, sorted(counts)))
        handles.append(
            Patch(facecolor="#BBBBBB", label=f"95 % interval of the mean, {sizes} samples")
        )
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    axes.set_xlabel(f"share of {_WORDS[key]}", fontsize=10)
    axes.set_ylabel("probability of the explained class", fontsize=10)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E3E3E3", linewidth=0.7)
    axes.set_axisbelow(True)
    # Above the axes: curves run through every corner of them.
    axes.legend(handles=handles, fontsize=8.5, frameon=False, loc="lower left",
                bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2)  # fmt: skip


def _interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the samples, and half of its interval; 0 of a single one."""
    mean = values.mean(axis=0)
    if len(values) < 2:
        return mean, np.zeros_like(mean)
    return mean, _Z * values.std(axis=0, ddof=1) / np.sqrt(len(values))


def _areas(curve: Curve) -> str:
    """ "area .12 (random .45)" """
    own, random = (f"{m.value:.3f}".lstrip("0") for m in (curve.area, curve.area_random))
    return f"area {own} (random {random})"
