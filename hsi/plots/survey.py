"""Explanations over photographs for sheets, and what a survey found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hsi.plots import add_note, new_figure
from hsi.plots.colors import MISSING, POSITIVE, SERIES_COLORS, robust_limit
from hsi.plots.words import shortened, wrapped

PERCENTILE = 99.5
"""Of the values of one map, where its colours end."""

_GREY, _LIGHT, _SOFT = np.array([0.2126, 0.7152, 0.0722]), 0.45, 0.5
_ROW, _WIDTH = 0.36, 8.4  # inches
_NAME = 30  # characters
_MARKERS = ("o", "s", "^", "D", "v", "P")


def overlay(photograph: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """A map over a pale grey photograph: the weaker, the more transparent.

    Every map has its own scale, from 0 to its `PERCENTILE`: people are asked where, not how much.

    Args:
        photograph: (rows, cols, 3) of 0..1.
        importance: (rows, cols) from 0 upwards.

    Returns:
        (rows, cols, 3) of 0..1.
    """
    strength = np.clip(importance / robust_limit([importance], percentile=PERCENTILE), 0, 1)
    colours = matplotlib.colormaps[POSITIVE](strength)[..., :3]
    alpha = (strength**_SOFT)[..., None]
    pale = _LIGHT + (1 - _LIGHT) * (np.clip(photograph, 0, 1) @ _GREY)
    return alpha * colours + (1 - alpha) * pale[..., None]


def preference_figure(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    note: str = "",
    synthetic: bool = False,
) -> Figure:
    """Shares of votes as bars, and the difference with its interval beside them.

    Args:
        rows: as `hsi.survey.preferences.Preferences.rows`.
    """
    figure = new_figure(_WIDTH, 1.9 + _ROW * len(rows))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.25, 1])
    for place, row in enumerate(rows):
        _bar(left, place, row)
        _interval(right, place, row, "difference", SERIES_COLORS[0], "o")
        if place and row["class"] is None:  # the next pair
            left.axhline(place - 0.5, color="black", linewidth=0.6)
            right.axhline(place - 0.5, color="black", linewidth=0.6)
    left.set_yticks(range(len(rows)), [_pair_name(row) for row in rows], fontsize=9)
    left.set_ylim(len(rows) - 0.4, -0.6)
    left.set(xlim=(0, 100), xlabel="share of votes (%)")
    right.axvline(0, color="black", linewidth=0.8)
    right.set(xlim=(-105, 105), xlabel="for the other less for the first (points)")
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=words)
        for _, words, colour, hatch in _BARS
    ]
    heading = "more reasonable is the explanation of"
    left.legend(handles=handles, title=heading, title_fontsize=9, **_ABOVE, ncols=3)
    _finish(figure, (left, right), title, note, synthetic)
    return figure


def _bar(axes: Axes, place: int, row: Mapping[str, Any]) -> None:
    """Shares of one row's votes, beside each other."""
    start = 0.0
    for column, _, colour, hatch in _BARS:
        share = 100 * row[column] / row["votes"]
        axes.barh(
            place, share, left=start, height=0.72, color=colour, hatch=hatch, edgecolor="white"
        )
        if share >= _ROOM:
            axes.text(
                start + share / 2,
                place,
                f"{share:.0f}",
                ha="center",
                va="center",
                fontsize=8.5,
                color="black" if colour == MISSING else "white",
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5},
            )
        start += share


_BARS = (
    ("for_first", "the first", SERIES_COLORS[0], ""),
    ("for_neither", "both equally", MISSING, ""),
    ("for_other", "the other", "#A84300", "//"),  # dark enough for white words
)
_ROOM = 9  # percent that a number needs
_ABOVE: dict[str, Any] = {
    "loc": "lower left", "bbox_to_anchor": (0, 1), "frameon": False, "fontsize": 9,
    "borderaxespad": 0.2, "alignment": "left",
}  # fmt: skip
_INTERVAL = "Intervals: 95 %, clustered by image and by rater; none with one image."


def recognition_figure(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    note: str = "",
    synthetic: bool = False,
) -> Figure:
    """Share of answers that name the class, for every variant: of all classes and of each.

    Args:
        rows: as `hsi.survey.recognition.Recognition.rows`.
    """
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    groups = list(dict.fromkeys((row["class"], row["class_name"]) for row in rows))
    groups.sort(key=lambda group: -1 if group[0] is None else group[0])
    height = max(_ROW, 0.2 * len(variants))
    figure = new_figure(_WIDTH, 1.9 + height * len(groups))
    axes = figure.subplots()
    for turn, variant in enumerate(variants):
        colour = SERIES_COLORS[turn % len(SERIES_COLORS)]
        marker = _MARKERS[turn % len(_MARKERS)]
        for row in rows:
            if row["variant"] == variant:
                place = groups.index((row["class"], row["class_name"]))
                shift = 0.7 * ((turn + 0.5) / len(variants) - 0.5)
                _interval(axes, place + shift, row, "share", colour, marker)
        axes.plot([], [], color=colour, marker=marker, label=shortened(variant, _NAME))
    chance = rows[0]["chance"]
    axes.axvline(100 * chance, color="#555555", linewidth=1, linestyle=":", label="by chance")
    axes.axhline(0.5, color="black", linewidth=0.6)
    names = ["all classes" if k is None else f"{k} {name}" for k, name in groups]
    axes.set_yticks(range(len(groups)), [shortened(name, _NAME) for name in names], fontsize=9)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set(xlim=(-3, 103), xlabel="share of answers that name the class (%)")
    axes.legend(**_ABOVE, ncols=min(4, len(variants) + 1))
    _finish(figure, (axes,), title, note, synthetic)
    return figure


def _pair_name(row: Mapping[str, Any]) -> str:
    pair = f"{row['first']} : {row['other']}"
    name = pair if row["class"] is None else f"{row['class']} {row['class_name']}"
    return f"{shortened(name, _NAME)} ({row['votes']})"


def _interval(
    axes: Axes, place: float, row: Mapping[str, Any], column: str, colour: str, marker: str
) -> None:
    """A value in percent with its interval, where there is one."""
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    value = 100 * row[column]
    if np.isfinite(low) and np.isfinite(high):
        axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.6)
    axes.plot(value, place, marker=marker, color=colour, markersize=6, markeredgecolor="white",
              markeredgewidth=0.6)  # fmt: skip


def _finish(figure: Figure, panels: Sequence[Axes], title: str, note: str, synthetic: bool) -> None:
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#DDDDDD", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
    if title:
        figure.suptitle(wrapped(title, figure.get_figwidth(), size=12), fontsize=12)
    add_note(figure, f"{_INTERVAL} {note}".strip(), synthetic=synthetic)
