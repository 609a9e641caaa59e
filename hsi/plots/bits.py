"""Accuracy against the bits that activations, weights and accumulators are computed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from hsi.plots import add_note, new_figure
from hsi.plots.colors import SERIES_COLORS
from hsi.plots.words import plain

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_NAMES = {"activation": "activations", "weight": "weights", "accumulator": "accumulators"}


def bits_figure(
    lines: Mapping[str, Sequence[tuple[int, float]]],
    accuracy: float,
    *,
    others: Sequence[tuple[str, float]] = (),
    title: str = "",
    note: str = "",
    synthetic: bool = False,
) -> Figure:
    """A line a quantity over a logarithmic axis of bits.

    Args:
        lines: quantity -> (bits, accuracy in percent).
        accuracy: of the float network, percent: a dotted line.
        others: (setting in words, accuracy in percent) of settings on none of the lines: a dashed
            line each.
    """
    figure = new_figure(8.5, 5.2)
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    used = sorted({bits for points in lines.values() for bits, _ in points})
    for place, (quantity, points) in enumerate(lines.items()):
        if points:
            bits, found = zip(*sorted(points), strict=True)
            axes.plot(
                bits,
                found,
                color=SERIES_COLORS[place],
                marker=_MARKERS[place],
                label=_NAMES.get(quantity, plain(quantity)),
            )
    axes.axhline(accuracy, color="#777777", linewidth=1, linestyle=":", label="float network")
    for place, (name, reached) in enumerate(others, start=len(lines)):
        color = SERIES_COLORS[place % len(SERIES_COLORS)]
        axes.axhline(reached, color=color, linewidth=1, linestyle="--", label=plain(name))
    axes.set_xticks(used, [str(bits) for bits in used])
    axes.minorticks_off()
    axes.set_xlabel("bits (log scale)", fontsize=11)
    axes.set_ylabel("accuracy on test samples (%)", fontsize=11)
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=9, frameon=False)
    if title:
        figure.suptitle(plain(title), fontsize=13)
    add_note(figure, note, synthetic=synthetic)
    return figure
