"""Methods of band reduction side by side: accuracy by method and number of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from hsi.plots import add_note, new_figure
from hsi.plots.colors import SERIES_COLORS

_MARKERS = ("o", "s", "^", "D", "v", "P")


def method_dots(
    lines: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Mean OA over seeds with its 95 % interval: a row a method, a mark a number of channels.

    Args:
        lines: in the order of the rows, each `band_selection`, `components` (None without a
            method), `oa` and `oa_half` (percent, None without an interval).
    """
    methods = list(dict.fromkeys(str(line["band_selection"]) for line in lines))
    counts = list(dict.fromkeys(line["components"] for line in lines))
    counts.sort(key=lambda count: (count is None, count or 0))
    figure = new_figure(9, 1.6 + 0.34 * len(methods))
    axes = figure.subplots()
    for place, count in enumerate(counts):
        mine = [line for line in lines if line["components"] == count]
        shift = 0.2 * (place - (len(counts) - 1) / 2) if count is not None else 0.0
        axes.errorbar(
            [float(line["oa"]) for line in mine],
            [methods.index(str(line["band_selection"])) + shift for line in mine],
            xerr=[float(line.get("oa_half") or 0) for line in mine],
            label="all bands" if count is None else f"{count} channels",
            color=SERIES_COLORS[place % len(SERIES_COLORS)],
            marker=_MARKERS[place % len(_MARKERS)],
            linestyle="none",
            markersize=6,
            capsize=2,
            elinewidth=1.0,
        )
    axes.set_yticks(range(len(methods)), methods)
    axes.invert_yaxis()
    axes.set_xlim(right=min(100.5, axes.get_xlim()[1]))
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("overall accuracy, OA (%)", fontsize=11)
    figure.legend(loc="outside right upper", fontsize=9, frameon=False)
    if title:
        figure.suptitle(title, fontsize=13)
    add_note(figure, note, synthetic=synthetic)
    return figure
