"""The curves of a study: accuracy against what is left of the network, a line a combination."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsi.plots import add_note, new_figure
from hsi.plots.colors import LINE_STYLES, SERIES_COLORS
from hsi.plots.log_axis import in_bytes, log_axis
from hsi.plots.words import plain

AMOUNTS = (
    "compression_rates", "prune_start", "prune_increment", "prune_end", "target", "round_to",
)  # fmt: skip
"""Settings that say how much goes: points along one line, not lines of their own."""

_MODE = re.compile(r"_(dynamic|float16|float32|int16x8|int8|int4)$")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def study_curves(
    lines: Sequence[Mapping[str, Any]],
    keys: Sequence[str],
    *,
    title: str = "",
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Mean OA over seeds with its 95 % interval, against parameters left and file size.

    Args:
        lines: a dict each combination and variant: the keys, `variant`, `runs`, `oa`, `oa_half`
            (percent, None without an interval), `left` (percent), `bytes`.
        keys: that the combinations differ in, without the seed; those in `AMOUNTS` run along a
            line.
    """
    figure = new_figure(13.5, 5.4)
    axes_left, axes_right = figure.subplots(1, 2, sharey=True)
    named = [key for key in keys if key not in AMOUNTS]
    series: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        if line.get("oa") is not None:
            series.setdefault(_series(line, named), []).append(line)
    for place, (name, points) in enumerate(series.items()):
        style = {
            "color": SERIES_COLORS[place % len(SERIES_COLORS)],
            "linestyle": LINE_STYLES[place // len(SERIES_COLORS) % len(LINE_STYLES)],
            "marker": _MARKERS[place % len(_MARKERS)],
        }
        _curve(axes_left, points, "left", style, name)
        _curve(axes_right, points, "bytes", style, name)
    for axes in (axes_left, axes_right):
        axes.grid(color="#DDDDDD", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes, along, label in (
        (axes_left, "left", lambda value: f"{value:g}"),
        (axes_right, "bytes", in_bytes),
    ):
        values = [float(line[along]) for line in lines if line.get(along)]
        if values:
            log_axis(axes, values, label=label)
        axes.invert_xaxis()
    axes_left.set_xlabel("parameters left, not zero (%, log scale)", fontsize=11)
    axes_right.set_xlabel("size of the file (bytes, log scale)", fontsize=11)
    axes_left.set_ylabel("overall accuracy, OA (%)", fontsize=11)
    handles, labels = axes_left.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right upper", fontsize=9, frameon=False)
    if title:
        figure.suptitle(plain(title), fontsize=13)
    most = max((int(line.get("runs") or 0) for line in lines), default=0)
    bars = f"Bars: 95 % interval of the mean over {most} seeds." if most > 1 else "One seed each."
    add_note(figure, f"{bars}  {note}".strip(), synthetic=synthetic)
    return figure


def _series(line: Mapping[str, Any], named: Sequence[str]) -> str:
    mode = _MODE.search(str(line["variant"]))
    values = [f"{key} {line[key]}" for key in named if line.get(key) not in (None, "")]
    return ", ".join([*values, mode.group(1) if mode else "Keras"])


def _curve(
    axes: Axes,
    points: Sequence[Mapping[str, Any]],
    along: str,
    style: Mapping[str, Any],
    name: str,
) -> None:
    known = sorted((p for p in points if p.get(along)), key=lambda point: -float(point[along]))
    if not known:
        return
    axes.errorbar(
        [float(p[along]) for p in known],
        [float(p["oa"]) for p in known],
        yerr=[float(p.get("oa_half") or 0) for p in known],
        label=plain(name),
        linewidth=1.4 if len(known) > 1 else 0,
        markersize=6,
        capsize=3,
        elinewidth=1.0,
        markeredgecolor="white",
        markeredgewidth=0.6,
        **style,
    )
