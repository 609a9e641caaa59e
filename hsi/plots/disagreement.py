"""Where two variants of a network part: the pixels of a scene that they call by other classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.colors import SERIES_COLORS, UNLABELLED, class_color, class_image
from hsi.plots.words import plain, wrapped

COMPARED = "#CFCFCF"
"""Pixels that both were asked about and call by one class."""

_ELSEWHERE = "#F5F5F5"
_KINDS = (
    ("only {first} is right", SERIES_COLORS[1], "v"),
    ("only {second} is right", SERIES_COLORS[0], "^"),
    ("neither is right", SERIES_COLORS[6], "X"),
    ("they part, truth unknown", SERIES_COLORS[3], "o"),
)
"""What a parting pixel is called, its colour and its marker: shapes tell it without colours."""

_LEAST = 22.0
"""Area of a marker in square points: a single pixel of a large scene must be seen."""


def disagreement_map(
    first: np.ndarray,
    second: np.ndarray,
    truth: np.ndarray,
    class_names: Mapping[int, str],
    *,
    names: tuple[str, str] = ("first", "second"),
    compared: np.ndarray | None = None,
    colors: Mapping[int, str] | None = None,
    title: str = "",
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Three panels: who is right where they part, and what each of the two says there.

    Args:
        first, second: (rows, cols) published numbers of the classes that each predicts.
        truth: (rows, cols) published numbers, 0 where unknown.
        class_names: published number -> name; those that occur stand in the legend.
        names: what the two variants are called.
        compared: (rows, cols) bool, the pixels that count; None takes all.
        colors: published number -> colour, where not the palette's.

    Raises:
        SettingsError: maps of different sizes.
    """
    first, second, truth = (np.asarray(values) for values in (first, second, truth))
    used = np.ones(truth.shape, bool) if compared is None else np.asarray(compared, bool)
    if truth.ndim != 2 or len({a.shape for a in (first, second, truth, used)}) != 1:
        raise SettingsError(
            f"Expected maps of one size (rows, cols), got {first.shape}, {second.shape}, "
            f"{truth.shape} and {used.shape}."
        )
    apart = used & (first != second)
    figure, axes = _panels(truth.shape, len(class_names))
    ground = np.where(used, 1, 0)
    table = {1: COMPARED, -1: _ELSEWHERE}
    handles = _draw_kinds(axes[0], apart, (first, second, truth), names)
    axes[0].set_title(plain(f"who is right where they part ({np.count_nonzero(apart):,})"))
    for axis, values, name in zip(axes[1:], (first, second), names, strict=True):
        rows, cols = np.nonzero(apart)
        shades = class_image(values[apart][None], colors)[0] / 255 if rows.size else None
        axis.scatter(cols, rows, s=_area(truth.shape), c=shades, marker="s",
                     edgecolors="#333333", linewidths=0.4, zorder=3)  # fmt: skip
        axis.set_title(plain(f"{name} says"))
    for axis in axes:
        axis.imshow(class_image(np.where(ground > 0, 1, -1), table | {0: _ELSEWHERE}),
                    interpolation="nearest", zorder=0)  # fmt: skip
        axis.set_xlabel("column (pixels)", fontsize=10)
        axis.title.set_fontsize(11)
        axis.tick_params(labelsize=9)
    axes[0].set_ylabel("row (pixels)", fontsize=10)
    _legends(figure, handles, _named(class_names, first, second, apart, colors))
    words = title or f"{names[0]} and {names[1]}"
    figure.suptitle(wrapped(words, figure.get_figwidth(), size=13), fontsize=13)
    count = (
        f"They part on {np.count_nonzero(apart):,} of {np.count_nonzero(used):,} pixels compared; "
        "markers are drawn larger than pixels where those are small."
    )
    add_note(figure, f"{count} {note}".strip(), synthetic=synthetic)
    return figure


def _panels(shape: tuple[int, ...], classes: int) -> tuple[Figure, list[Axes]]:
    aspect = shape[0] / shape[1]
    width = min(4.4, max(2.6, 7.0 / aspect))
    height = max(min(8.5, width * aspect) + 1.7, 0.22 * min(classes, 20) + 3.0)
    figure = new_figure(3 * (width + 0.35) + 2.9, height)
    return figure, list(figure.subplots(1, 3, sharex=True, sharey=True))


def _area(shape: tuple[int, ...]) -> float:
    """Of a marker: that of a pixel of the panel, or what can be seen."""
    side = 4.0 * 72 / max(shape)
    return max(_LEAST, side**2)


def _draw_kinds(
    axis: Axes,
    apart: np.ndarray,
    maps: tuple[np.ndarray, np.ndarray, np.ndarray],
    names: tuple[str, str],
) -> list[Line2D]:
    """Mark every parting pixel by who is right, and return the entries of the legend."""
    first, second, truth = maps
    known = truth > 0
    kinds = (
        known & (first == truth),
        known & (second == truth),
        known & (first != truth) & (second != truth),
        ~known,
    )
    handles = []
    for (words, color, marker), mask in zip(_KINDS, kinds, strict=True):
        rows, cols = np.nonzero(apart & mask)
        if not rows.size and "truth unknown" in words:
            continue
        axis.scatter(cols, rows, s=_area(apart.shape), color=color, marker=marker,
                     edgecolors="white", linewidths=0.4, zorder=3)  # fmt: skip
        said = words.format(first=names[0], second=names[1])
        handles.append(
            Line2D(
                [],
                [],
                color=color,
                marker=marker,
                linestyle="none",
                markersize=7,
                label=wrapped(f"{said}: {rows.size:,}", 2.4, size=9.5),
            )
        )
    return handles


def _named(
    class_names: Mapping[int, str],
    first: np.ndarray,
    second: np.ndarray,
    apart: np.ndarray,
    colors: Mapping[int, str] | None,
) -> list[Patch]:
    """The classes that one of the two says where they part."""
    said = np.union1d(first[apart], second[apart]).astype(int)
    return [
        Patch(
            facecolor=(colors or {}).get(n, class_color(n)) if n > 0 else UNLABELLED,
            edgecolor="#555555",
            label=wrapped(f"{n}  {class_names.get(n, f'class {n}')}", 2.4, size=9.5),
        )
        for n in map(int, said)
    ]


def _legends(figure: Figure, kinds: list[Line2D], classes: list[Patch]) -> None:
    agreeing = [
        Patch(facecolor=COMPARED, edgecolor="#555555", label="one class"),
        Patch(facecolor=_ELSEWHERE, edgecolor="#555555", label="not compared"),
    ]
    common = {"fontsize": 9.5, "frameon": False, "title_fontsize": 11}
    figure.legend(handles=[*kinds, *agreeing], loc="outside right upper", title="pixel", **common)
    if classes:
        figure.legend(handles=classes, loc="outside right lower", title="class said", **common)
