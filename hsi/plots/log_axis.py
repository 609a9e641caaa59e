"""Logarithmic axes of sizes and shares, with ticks that can be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter


def log_axis(axes: Axes, values: Sequence[float], *, label: Callable[[float], str]) -> None:
    """Make the x axis logarithmic, with room around the values.

    Ticks stand at 1, 2 and 5 times powers of ten, so that a range below a decade has some.

    Args:
        values: above 0, that are drawn.
        label: of a tick.
    """
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    steps = (1,) if high - low > 4 else (1, 2, 5)
    ticks = [m * 10.0**e for e in range(low, high + 1) for m in steps]
    begin, end = min(values) / 1.3, max(values) * 1.3
    axes.set_xlim(begin, end)
    axes.set_xticks([t for t in ticks if begin <= t <= end])


def in_bytes(value: float) -> str:
    """A size: 2 kB, 1.5 MB."""
    for factor, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= factor:
            return f"{value / factor:g} {name}"
    return f"{value:g} B"
