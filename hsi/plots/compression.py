"""Accuracy against compression: what each variant of a run costs and what it still knows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsi.plots import add_note, new_figure
from hsi.plots.colors import SERIES_COLORS
from hsi.plots.log_axis import in_bytes, log_axis
from hsi.plots.words import plain

_PRUNED_MARKERS = ("s", "^", "D", "v", "P", "X", "*")
_MODE = re.compile(r"(dynamic|float16|int16x8|int8|int4)")


@dataclass(frozen=True)
class Point:
    """A variant as the figure needs it; None where the row does not say.

    Attributes:
        base: "trained" or "pruned", the Keras model behind it.
        mode: of its quantization, "" for a Keras model.
        series: what it is drawn with: "pruned", "quantized int8", "quantized pruned int8" ...
        oa, oa_low, oa_high: percent.
        removed: share of parameters removed, percent.
        size: bytes of the file.
    """

    base: str
    mode: str
    series: str
    oa: float
    oa_low: float | None
    oa_high: float | None
    removed: float | None
    size: float | None


def compression_figure(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """OA with its interval against the share of parameters removed, and against the file size.

    Args:
        rows: one dict a variant with the columns of `results.csv`, as text or numbers. Empty or
            missing values are allowed: a variant without OA is left out and counted in the note,
            one without an interval has no bar.
        title: of the figure.
    """
    points, missing = compression_points(rows)
    figure = new_figure(12.5, 5.2)
    left, right = figure.subplots(1, 2, sharey=True)
    for name, style in _styles(points).items():
        mine = [p for p in points if p.series == name]
        _draw_series(left, [(p.removed, p) for p in mine], style)
        _draw_series(right, [(p.size, p) for p in mine], style)
    trained = [p.oa for p in points if p.base == "trained" and not p.mode]
    for axes in (left, right) if trained else ():
        axes.axhline(trained[0], color="#777777", linewidth=1, linestyle=":", zorder=1)
    left.set_xlabel("parameters removed (%)", fontsize=11)
    left.set_xlim(-4, 104)
    left.set_ylabel("overall accuracy, OA (%)", fontsize=11)
    right.set_xlabel("size of the file (bytes, log scale)", fontsize=11)
    if any(p.size for p in points):
        log_axis(right, [p.size for p in points if p.size], label=in_bytes)
    for axes in (left, right):
        axes.grid(color="#DDDDDD", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=10)
        if not axes.lines and not axes.containers:
            axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", fontsize=12)
    handles: dict[str, Any] = {}
    for axes in (left, right):
        handles.update((lab, h) for h, lab in zip(*axes.get_legend_handles_labels(), strict=True))
    if handles:
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside right upper",
            fontsize=10,
            frameon=False,
        )
    if title:
        figure.suptitle(plain(title), fontsize=13)
    said = f"{missing} of {len(rows)} variants without OA are not drawn." if missing else ""
    bars = "Dotted: the trained model." if trained else ""
    if any(p.oa_low is not None for p in points):
        bars += " Bars: 95 % interval of the OA."
    add_note(figure, "  ".join(t for t in (bars.strip(), said, note) if t), synthetic=synthetic)
    return figure


def compression_points(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Point], int]:
    """The points of the figure, and how many rows have no OA.

    Parameters removed count against the trained model's (or else the largest). For magnitude
    pruning, where shapes stay, the zeros are what was removed. A quantized file whose own row does
    not say takes the share from the row of the Keras model that it was made of.
    """
    counts = [v for row in rows if (v := _number(row, "parameters")) is not None]
    trained = [
        v
        for row in rows
        if _kind(row) == ("trained", "") and (v := _number(row, "parameters")) is not None
    ]
    whole = trained[0] if trained else max(counts, default=None)
    removed_of = {}
    for row in rows:
        share = _removed(row, whole)
        if share is not None and not _kind(row)[1]:
            removed_of[_origin(row)] = share
    several = {
        column
        for column in ("criterion", "granularity", "schedule", "seed")
        if len({str(row.get(column) or "") for row in rows} - {""}) > 1
    }
    points = []
    for row in rows:
        oa = _number(row, "oa")
        if oa is None:
            continue
        share = _removed(row, whole)
        if _kind(row)[1] and (share is None or _number(row, "parameters") is None):
            share = removed_of.get(_origin(row), share)
        points.append(
            Point(
                *_kind(row),
                _series(row, several),
                oa,
                _number(row, "oa_low"),
                _number(row, "oa_high"),
                share,
                _number(row, "bytes"),
            )
        )
    return points, len(rows) - len(points)


def _number(row: Mapping[str, Any], column: str) -> float | None:
    """The value as a number; None where the row has none."""
    try:
        value = float(row[column])
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _kind(row: Mapping[str, Any]) -> tuple[str, str]:
    """("trained" | "pruned", quantization mode or "") from the names that DESIGN fixes."""
    text = f"{row.get('variant') or ''} {row.get('file') or ''}".lower()
    mode = _MODE.search(text)
    pruned = "pruned" in text or bool(_number(row, "target"))
    return "pruned" if pruned else "trained", mode.group(1) if mode else ""


def _series(row: Mapping[str, Any], several: set[str]) -> str:
    base, mode = _kind(row)
    if not mode:
        name = base
    else:
        name = f"quantized {mode}" if base == "trained" else f"quantized pruned {mode}"
    more = [
        f"{column} {row[column]}" if column == "seed" else str(row[column])
        for column in ("criterion", "granularity", "schedule", "seed")
        if column in several and row.get(column)
    ]
    return f"{name} ({', '.join(more)})" if more else name


def _styles(points: Sequence[Point]) -> dict[str, dict[str, Any]]:
    """series -> how it is drawn: the colour tells the quantization, the marker what was pruned."""
    order = {p.series: (p.base != "trained", p.mode != "", p.mode, p.series) for p in points}
    modes = sorted({p.mode for p in points} - {""})
    colors = {"": "#000000", **{m: SERIES_COLORS[i % 6] for i, m in enumerate(modes)}}
    used: dict[str, int] = {}
    styles = {}
    for series in sorted(order, key=order.__getitem__):
        point = next(p for p in points if p.series == series)
        if point.base == "trained":
            marker = "o"
        else:
            used[point.mode] = used.get(point.mode, 0) + 1
            marker = _PRUNED_MARKERS[(used[point.mode] - 1) % len(_PRUNED_MARKERS)]
        styles[series] = {"color": colors[point.mode], "marker": marker, "label": series}
    return styles


def _origin(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What a quantized file shares with the model that it was made of."""
    columns = ("criterion", "granularity", "scope", "schedule", "seed")
    target = _number(row, "target")
    if target is None:
        digits = re.search(r"pruned\D*(\d+)", f"{row.get('file') or row.get('variant') or ''}")
        target = float(digits.group(1)) if digits else 0.0
    return (str(target), *(str(row.get(c) or "") for c in columns))


def _removed(row: Mapping[str, Any], whole: float | None) -> float | None:
    """Percent of the trained model's parameters that this variant does without."""
    count = _number(row, "parameters")
    if str(row.get("granularity") or "").startswith("weight"):
        zeros = _number(row, "sparsity") or 0.0
        kept = (1.0 if count is None or not whole else count / whole) * (1 - zeros / 100)
        return 100 * (1 - kept)
    if count is None or not whole:
        return 0.0 if _kind(row)[0] == "trained" else None
    return 100 * (1 - count / whole)


def _draw_series(
    axes: Axes, placed: Sequence[tuple[float | None, Point]], style: Mapping[str, Any]
) -> None:
    known = sorted(((x, p) for x, p in placed if x is not None), key=lambda pair: pair[0])
    if not known:
        return
    below = [_gap(p.oa, p.oa_low) for _, p in known]
    above = [_gap(p.oa_high, p.oa) for _, p in known]
    axes.errorbar(
        [x for x, _ in known],
        [p.oa for _, p in known],
        yerr=[below, above],
        linestyle="-" if len(known) > 1 else "none",
        linewidth=1.3,
        markersize=7,
        capsize=3,
        elinewidth=1.0,
        markeredgecolor="white",
        markeredgewidth=0.6,
        **style,
    )


def _gap(high: float | None, low: float | None) -> float:
    """Length of one side of a bar: none (NaN) where an end is unknown, never negative."""
    return math.nan if high is None or low is None else max(0.0, high - low)
