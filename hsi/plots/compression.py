"""Accuracy against compression: what each variant of a run costs and what it still knows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsi.compare.series import quantization_of
from hsi.plots import add_note, new_figure
from hsi.plots.colors import SERIES_COLORS
from hsi.plots.log_axis import in_bytes, log_axis
from hsi.plots.words import plain
from hsi.settings import QUANTIZATIONS

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_COLORS = {"": "#000000", **dict(zip(QUANTIZATIONS, SERIES_COLORS, strict=False))}
TRAINED = "trained"
_MADE = (TRAINED, "pruned", "distilled", "low rank", "separable", "clustered")
"""What the names of variants begin with, as the legend orders them."""
_FORMS = ("folded", "counts")
"""What the names of other forms of a variant end with."""


@dataclass(frozen=True)
class Point:
    """A variant as the figure needs it; None where the row does not say.

    Attributes:
        made: what the Keras model behind it is: "trained", "pruned", "low rank", "trained folded",
            and where those of a run differ, how: "pruned (l1)".
        mode: of its quantization, "" for a Keras model.
        series: what it is drawn with: "pruned", "quantized int8", "quantized pruned int8" ...
        oa, oa_low, oa_high: percent.
        removed: share of parameters removed, percent.
        size: bytes of the file.
    """

    made: str
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
    trained = [p.oa for p in points if p.made == TRAINED and not p.mode]
    for axes in (left, right) if trained else ():
        axes.axhline(trained[0], color="#777777", linewidth=1, linestyle=":", zorder=1)
    left.set_xlabel("parameters removed (%)", fontsize=11)
    left.set_xlim(min([0.0, *(p.removed for p in points if p.removed is not None)]) - 4, 104)
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

    Parameters removed count against the trained model's (or else the largest). Where weights were
    pruned, and shapes stay, the zeros are what was removed. A quantized file whose own row does
    not say takes the share from the row of the Keras model that it was made of.
    """
    counts = [v for row in rows if (v := _number(row, "parameters")) is not None]
    trained = [
        v
        for row in rows
        if _keras_name(row) == TRAINED and (v := _number(row, "parameters")) is not None
    ]
    whole = trained[0] if trained else max(counts, default=None)
    removed_of = {
        _origin(row): share
        for row in rows
        if not quantization_of(row) and (share := _removed(row, whole)) is not None
    }
    ways = [_way(row) for row in rows]
    several = {
        c for way in ways for c in way if any(other.get(c, way[c]) != way[c] for other in ways)
    }
    points = []
    for row in rows:
        oa = _number(row, "oa")
        if oa is None:
            continue
        share = _removed(row, whole)
        if quantization_of(row) and _number(row, "parameters") is None:
            share = removed_of.get(_origin(row), share)
        points.append(
            Point(
                *_names(row, several),
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


def _keras_name(row: Mapping[str, Any]) -> str:
    """The Keras variant itself or behind it: pruned_20 of quantized_pruned_20_int8."""
    name, mode = str(row.get("variant") or ""), quantization_of(row)
    if mode:
        name = name.removesuffix(f"_{mode}").removeprefix("quantized").removeprefix("_")
    return name or TRAINED


def _names(row: Mapping[str, Any], several: Collection[str]) -> tuple[str, str, str]:
    """`made`, `mode` and `series` of a point; `several` are the columns that tell series apart."""
    name, mode = _keras_name(row).replace("_", " "), quantization_of(row)
    kind = next((kind for kind in _MADE if name.startswith(kind)), name)
    made = " ".join((kind, *(word for word in name.split() if word in _FORMS)))
    quantized = " ".join(("quantized", *made.removeprefix(TRAINED).split(), mode))
    way = _way(row).items()
    more = [f"seed {v}" if c == "seed" else v for c, v in way if c in several]
    apart = f" ({', '.join(more)})" if more else ""
    return f"{made}{apart}", mode, f"{quantized if mode else made}{apart}"


def _way(row: Mapping[str, Any]) -> dict[str, str]:
    """How a variant was pruned, and its seed: column -> text of what may tell series apart."""
    pruned = ("criterion", "granularity", "schedule") if row.get("criterion") else ()
    return {c: str(row[c]) for c in (*pruned, "seed") if row.get(c) not in (None, "")}


def _styles(points: Sequence[Point]) -> dict[str, dict[str, Any]]:
    """series -> how it is drawn: the colour tells the quantization, the marker what was made."""
    modes = list(_COLORS)
    made = sorted({p.made for p in points}, key=_place)
    ordered = sorted(points, key=lambda p: (made.index(p.made), modes.index(p.mode)))
    return {
        p.series: {
            "color": _COLORS[p.mode],
            "marker": _MARKERS[made.index(p.made) % len(_MARKERS)],
            "label": p.series,
        }
        for p in ordered
    }


def _place(made: str) -> tuple[int, str]:
    kinds = (place for place, kind in enumerate(_MADE) if made.startswith(kind))
    return next(kinds, len(_MADE)), made


def _origin(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What a quantized file shares with the model that it was made of."""
    columns = ("criterion", "granularity", "scope", "schedule", "seed")
    return (_keras_name(row), *(str(row.get(column) or "") for column in columns))


def _removed(row: Mapping[str, Any], whole: float | None) -> float | None:
    """Percent of the trained model's parameters that this variant does without."""
    count, zeros = _number(row, "parameters"), 0.0
    if row.get("granularity") not in (None, "", "channel"):
        zeros = (_number(row, "sparsity") or 0.0) / 100
    if count is not None and whole:
        return 100 * (1 - count / whole * (1 - zeros))
    return 100 * zeros if zeros or _keras_name(row) == TRAINED else None


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
