"""Figures of an evaluation: accuracy on each split, and over the number of training pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsi.plots import add_note, new_figure
from hsi.plots.colors import LINE_STYLES, SERIES_COLORS
from hsi.plots.log_axis import log_axis
from hsi.plots.words import plain

Line = Mapping[str, Any]
"""Of a network, split and amount, as `hsi.evaluate.seeds.averages` gives it."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_APART = 0.16
"""Between the dots of one network: their bars would hide each other."""


def accuracy_by_split(
    lines: Sequence[Line], *, title: str = "", seeds: int = 1, synthetic: bool = False
) -> Figure:
    """A row a network, the best on the last split at the top; a dot a split, its deviation as bar.

    Args:
        lines: `network`, `split`, `oa` and `oa_sd` (percent, None without) and `leakage` (percent).
    """
    splits = list(dict.fromkeys(line["split"] for line in lines))
    order = {x["network"]: x["oa"] for x in lines}  # of the last split that it has
    names = sorted(order, key=lambda name: order[name])
    figure = new_figure(8.5, 1.8 + 0.3 * len(names))
    axes = figure.subplots()
    for place, split in enumerate(splits):
        known = [line for line in lines if line["split"] == split]
        leakage = sum(line["leakage"] for line in known) / len(known)
        away = _APART * (place - (len(splits) - 1) / 2)
        axes.errorbar(
            [line["oa"] for line in known],
            [names.index(line["network"]) + away for line in known],
            xerr=[line["oa_sd"] or 0 for line in known],
            label=f"{split}, mean leakage {leakage:.0f} %",
            color=SERIES_COLORS[place % len(SERIES_COLORS)],
            marker=_MARKERS[place % len(_MARKERS)],
            linestyle="none",
            markersize=6,
            capsize=2,
            elinewidth=1.0,
        )
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel("overall accuracy on test pixels, OA (%)", fontsize=11)
    axes.grid(color="#DDDDDD", linewidth=0.7, axis="both")
    _finish(figure, axes, title=title, seeds=seeds, synthetic=synthetic)
    return figure


def learning_curves(
    lines: Sequence[Line], *, title: str = "", seeds: int = 1, synthetic: bool = False
) -> Figure:
    """A panel a split: mean OA against training pixels (log axis), a line a network.

    Args:
        lines: as `accuracy_by_split`, and `training`: pixels, the mean over seeds.
    """
    splits = list(dict.fromkeys(line["split"] for line in lines))
    names = list(dict.fromkeys(line["network"] for line in lines))
    figure = new_figure(2.5 + 5.5 * len(splits), 5.2)
    panels = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for axes, split in zip(panels, splits, strict=True):
        for place, name in enumerate(names):
            known = [x for x in lines if (x["network"], x["split"]) == (name, split)]
            known.sort(key=lambda line: line["training"])
            axes.errorbar(
                [line["training"] for line in known],
                [line["oa"] for line in known],
                yerr=[line["oa_sd"] or 0 for line in known],
                label=plain(name),
                color=SERIES_COLORS[place % len(SERIES_COLORS)],
                linestyle=LINE_STYLES[place // len(SERIES_COLORS) % len(LINE_STYLES)],
                marker=_MARKERS[place % len(_MARKERS)],
                linewidth=1.4,
                markersize=5,
                capsize=3,
                elinewidth=1.0,
            )
        pixels = [line["training"] for line in lines if line["split"] == split]
        log_axis(axes, pixels, label=lambda value: f"{value:g}")
        axes.set_xlabel("training pixels (log scale)", fontsize=11)
        axes.set_title(plain(f"split {split}"), fontsize=11)
        axes.grid(color="#DDDDDD", linewidth=0.7)
    panels[0].set_ylabel("overall accuracy on test pixels, OA (%)", fontsize=11)
    _finish(figure, panels[0], title=title, seeds=seeds, synthetic=synthetic)
    return figure


def _finish(figure: Figure, axes: Axes, *, title: str, seeds: int, synthetic: bool) -> None:
    for panel in figure.axes:
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right upper", fontsize=9, frameon=False)
    if title:
        figure.suptitle(plain(title), fontsize=13)
    words = f"Bars: standard deviation over {seeds} seeds." if seeds > 1 else "One seed: no bars."
    add_note(figure, words, synthetic=synthetic)
