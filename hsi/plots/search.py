"""What smaller and faster files cost: accuracy against bytes and latency, a row of panels a split.

The colour tells what a network was made by, the marker how it was quantized; the trained network
itself is black.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsi.plots import add_note, new_figure
from hsi.plots.colors import SERIES_COLORS
from hsi.plots.log_axis import in_bytes, log_axis
from hsi.plots.words import plain

KINDS: dict[str, tuple[str, str]] = {
    "trained": ("#000000", "-"),
    "pruned": (SERIES_COLORS[0], "-"),
    "low rank": (SERIES_COLORS[2], "-."),
    "student": (SERIES_COLORS[1], "--"),
}
"""Colour and line of each."""
MODES: dict[str, str] = {"float32": "o", "dynamic": "s", "int8": "^", "int16x8": "D", "int4": "v"}
"""Marker of each."""
MARGIN_COLOR = "#EEEEEE"
MOST_TICKS = 6
"""Of a panel."""


def in_microseconds(value: float) -> str:
    """A time given in ms: 2 us, 1.5 ms."""
    return f"{value:g} ms" if value >= 1 else f"{1000 * value:g} µs"


AXES = (
    ("bytes", "size of the file (log scale)", in_bytes),
    ("milliseconds_batch_1", "one sample (log scale)", in_microseconds),
    ("milliseconds_batch_256", "a batch of 256 samples (log scale)", in_microseconds),
)
"""Figure along, what the axis says, label of a tick."""


def search_curves(
    lines: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    margin: float = 1.0,
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """OA of files minus that of the trained float file, against what they cost.

    Args:
        lines: a dict each file of a split, means over seeds: `split`, `kind` and `mode` (of `KINDS`
            and `MODES`), `runs`, `difference` (points of OA), `bytes`, `milliseconds_batch_1` and
            `milliseconds_batch_256` (None where not timed), and `<column>_half` of the 95 %
            interval (None without).
        margin: points that may be lost; drawn as a band.
    """
    splits = list(dict.fromkeys(line["split"] for line in lines))
    figure = new_figure(13.5, 0.9 + 3.9 * len(splits))
    grid = figure.subplots(len(splits), len(AXES), sharey="row", squeeze=False)
    for row, split in zip(grid, splits, strict=True):
        mine = [line for line in lines if line["split"] == split]
        for axes, (along, label, words) in zip(row, AXES, strict=True):
            _panel(axes, mine, along, margin)
            values = [float(line[along]) for line in lines if line.get(along)]
            if values:
                log_axis(axes, values, label=words)
                _thin(axes)
            axes.invert_xaxis()
            axes.set_xlabel(label, fontsize=10)
            axes.set_title(f"split {split}", fontsize=10, loc="left")
        row[0].set_ylabel("OA minus the trained OA (points)", fontsize=10)
        _limit(row[0], mine, margin)
    handles = {
        text: handle
        for axes in grid.flat
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(handles.values()), list(handles), loc="outside right upper", fontsize=9, frameon=False
    )
    if title:
        figure.suptitle(plain(title), fontsize=13)
    most = max((int(line["runs"]) for line in lines), default=0)
    bars = f"Bars: 95 % interval of the mean over {most} seeds." if most > 1 else "One seed."
    said = f"{bars} Differences on the same test pixels. Grey: at most {margin:g} point lost."
    add_note(figure, f"{said}  {note}".strip(), synthetic=synthetic)
    return figure


def _panel(axes: Axes, lines: Sequence[Mapping[str, Any]], along: str, margin: float) -> None:
    axes.axhspan(-margin, 0, color=MARGIN_COLOR, zorder=0)
    for kind, (color, dashes) in KINDS.items():
        for mode, marker in MODES.items():
            points = [p for p in lines if (p["kind"], p["mode"]) == (kind, mode) and p.get(along)]
            if not points:
                continue
            points.sort(key=lambda p: -float(p["bytes"]))  # the same order in every panel
            axes.errorbar(
                [float(p[along]) for p in points],
                [float(p["difference"]) for p in points],
                yerr=[float(p.get("difference_half") or 0) for p in points],
                label=f"{kind}, {mode}",
                color=color,
                linestyle=dashes if len(points) > 1 else "none",
                marker=marker,
                linewidth=1.1,
                markersize=6,
                capsize=2,
                elinewidth=0.8,
                markeredgecolor="white",
                markeredgewidth=0.5,
            )
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _thin(axes: Axes) -> None:
    """Of many ticks those at powers of ten: the panels are narrow."""
    ticks = [float(tick) for tick in axes.get_xticks()]
    if len(ticks) > MOST_TICKS:
        axes.set_xticks([t for t in ticks if math.isclose(math.log10(t) % 1, 0, abs_tol=1e-9)])


def _limit(axes: Axes, lines: Sequence[Mapping[str, Any]], margin: float) -> None:
    """Room for the means and most bars; what lies far below is still within the axis."""
    means = [float(line["difference"]) for line in lines]
    low, high = min(*means, -margin), max(*means, 0.0)
    room = 0.15 * (high - low)
    axes.set_ylim(low - room, high + room)
