"""The curves of a study: accuracy against what is left of the network, a line a combination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsi.compare.series import quantization_of
from hsi.plots import add_note, new_figure
from hsi.plots.colors import LINE_STYLES, SERIES_COLORS
from hsi.plots.log_axis import in_bytes, log_axis
from hsi.plots.words import plain

AMOUNTS = (
    "compression_rates", "prune_start", "prune_increment", "prune_end", "target", "round_to",
)  # fmt: skip
"""Settings that say how much goes: points along one line, not lines of their own."""

GIVEN = "set_"
"""Before the name of a setting in tables where a result has it; see `hsi.study.tables`."""

Line = Mapping[str, Any]
"""Of one combination and variant, as `hsi.study.tables.averages` gives it."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_APART = 0.03
"""Octaves between the lines of a rate: their bars would hide each other."""


def study_curves(
    lines: Sequence[Line],
    keys: Sequence[str],
    *,
    title: str = "",
    chance: float | None = None,
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Mean OA over seeds with its 95 % interval, against parameters left and file size.

    Args:
        lines: a dict each combination and variant: the keys, `variant`, `runs`, `oa`, `oa_half`
            (percent, None without an interval), `left` (percent), `bytes`, `bytes_gzip`; those
            `on_the_way` are not drawn.
        keys: of the lines, that the combinations differ in, without the seed; those in `AMOUNTS`
            run along a line.
        chance: OA of one answer for all samples, percent; None draws no line.
    """
    figure = new_figure(13.5, 5.4)
    axes_left, axes_right = figure.subplots(1, 2, sharey=True)
    series = _series(lines, keys)
    size = _size(lines)
    for place, (name, points) in enumerate(series.items()):
        _curve(axes_left, points, "left", place, name)
        _curve(axes_right, points, size, place, name)
    for axes, along, label in (
        (axes_left, "left", lambda value: f"{value:g}"),
        (axes_right, size, in_bytes),
    ):
        _finish(axes, chance)
        values = [float(p[along]) for points in series.values() for p in points if p.get(along)]
        if values:
            log_axis(axes, values, label=label)
        axes.invert_xaxis()
    axes_left.set_xlabel("parameters left, not zero (%, log scale)", fontsize=11)
    zipped = ", gzipped" if size == "bytes_gzip" else ""
    axes_right.set_xlabel(f"size of the file{zipped} (bytes, log scale)", fontsize=11)
    _words(figure, axes_left, lines, title=title, chance=chance, synthetic=synthetic, note=note)
    return figure


def rate_curves(
    lines: Sequence[Line],
    keys: Sequence[str],
    *,
    title: str = "",
    chance: float | None = None,
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Mean OA over seeds with its 95 % interval, against the compression rate (log2 axis).

    Args: as `study_curves`; of the lines `rate` (a factor) in the place of `left` and `bytes`.
    """
    figure = new_figure(9.5, 5.4)
    axes = figure.subplots()
    series = _series(lines, keys)
    axes.set_xscale("log", base=2)
    for place, (name, points) in enumerate(series.items()):
        away = 2 ** (_APART * (2 * place - len(series) + 1))
        _curve(axes, points, "rate", place, name, away=away)
    rates = sorted({float(p["rate"]) for points in series.values() for p in points if p["rate"]})
    if rates:
        axes.set_xticks(rates, [f"{rate:.3g}" for rate in rates])
        axes.set_xticks([], minor=True)
    _finish(axes, chance)
    axes.set_xlabel(
        "compression rate: one weight, or channel, of so many stays (log2 scale)", fontsize=11
    )
    _words(figure, axes, lines, title=title, chance=chance, synthetic=synthetic, note=note)
    return figure


def setting_of(key: str) -> str:
    """The setting that a key of lines, or a column of a table, holds: "epochs" of "set_epochs"."""
    return key.removeprefix(GIVEN)


def _series(lines: Sequence[Line], keys: Sequence[str]) -> dict[str, list[Line]]:
    """The lines that are drawn, by the name of their curve."""
    named = [key for key in keys if setting_of(key) not in AMOUNTS]
    drawn = [line for line in lines if line.get("oa") is not None and not line.get("on_the_way")]
    modes = {_mode(line) for line in drawn}
    series: dict[str, list[Line]] = {}
    for line in drawn:
        given = [key for key in named if line.get(key) not in (None, "")]
        words = [f"{setting_of(key)} {line[key]}" for key in given]
        if len(modes) > 1 or not words:
            words.append(_mode(line))
        series.setdefault(", ".join(words), []).append(line)
    return series


def _size(lines: Sequence[Line]) -> str:
    """The column of sizes to draw: zeros among the weights show in gzipped files alone."""
    sizes = [float(line["bytes"]) for line in lines if line.get("bytes")]
    alike = bool(sizes) and max(sizes) < 1.05 * min(sizes)
    zipped = all(line.get("bytes_gzip") for line in lines)
    return "bytes_gzip" if alike and zipped else "bytes"


def _mode(line: Line) -> str:
    return quantization_of(line) or "Keras"


def _curve(
    axes: Axes,
    points: Sequence[Line],
    along: str,
    place: int,
    name: str,
    *,
    away: float = 1.0,
) -> None:
    known = sorted((p for p in points if p.get(along)), key=lambda point: -float(point[along]))
    if not known:
        return
    axes.errorbar(
        [away * float(p[along]) for p in known],
        [float(p["oa"]) for p in known],
        yerr=[float(p.get("oa_half") or 0) for p in known],
        label=plain(name),
        color=SERIES_COLORS[place % len(SERIES_COLORS)],
        linestyle=LINE_STYLES[place // len(SERIES_COLORS) % len(LINE_STYLES)],
        marker=_MARKERS[place % len(_MARKERS)],
        linewidth=1.4 if len(known) > 1 else 0,
        markersize=6,
        capsize=3,
        elinewidth=1.0,
        markeredgecolor="white",
        markeredgewidth=0.6,
    )


def _finish(axes: Axes, chance: float | None) -> None:
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if chance is not None:
        axes.axhline(chance, color="#777777", linewidth=1, linestyle=":", zorder=1)
    low, high = axes.get_ylim()
    axes.set_ylim(max(0.0, low), min(100.5, high))  # an interval of few seeds reaches beyond


def _words(
    figure: Figure,
    axes: Axes,
    lines: Sequence[Line],
    *,
    title: str,
    chance: float | None,
    synthetic: bool,
    note: str,
) -> None:
    axes.set_ylabel("overall accuracy, OA (%)", fontsize=11)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right upper", fontsize=9, frameon=False)
    if title:
        figure.suptitle(plain(title), fontsize=13)
    most = max((int(line.get("runs") or 0) for line in lines), default=0)
    said = [f"Bars: 95 % interval of the mean over {most} seeds." if most > 1 else "One seed each."]
    if chance is not None:
        said.append(f"Dotted: one answer for all samples, {chance:.3g} %.")
    if any(line.get("on_the_way") for line in lines):
        said.append("Steps of an iterative schedule before its last are not drawn.")
    add_note(figure, "  ".join([*said, *([note] if note else [])]), synthetic=synthetic)
