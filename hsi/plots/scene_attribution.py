"""The whole scene: how strongly each pixel's own class is attributed, and to which wavelength."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.colors import MISSING, SEQUENTIAL, class_color, class_image, robust_limit
from hsi.plots.words import plain, wrapped
from hsi.scene import NO_DATA

PERCENTILE = 99.0
"""Of the magnitudes of all variants, where the colour scale ends: few pixels lie above it."""

_STRONGEST = "plasma"  # another map than that of the magnitudes: it is another quantity
_OUTLINE = "#FFFFFF"


def scene_attribution(
    magnitudes: Mapping[str, np.ndarray],
    strongest: Mapping[str, np.ndarray],
    labels: np.ndarray,
    class_names: Mapping[int, str],
    *,
    predicted: Mapping[str, np.ndarray] | None = None,
    captions: Mapping[str, str] | None = None,
    title: str = "",
    magnitude_label: str = "attribution magnitude",
    strongest_label: str = "wavelength (nm)",
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """A row for each variant: magnitude, strongest wavelength and classes of every pixel.

    All variants have one scale of magnitudes and one of wavelengths. The thin lines are the
    borders of the ground truth.

    Args:
        magnitudes: variant -> (rows, cols) magnitude of the attribution of each pixel's own
            (predicted) class; NaN where there is none.
        strongest: variant -> (rows, cols) nm (or number) of the band where it is strongest; not
            drawn where the magnitude is zero or NaN.
        labels: (rows, cols) published numbers of the ground truth, 0 unlabelled.
        class_names: published number -> name, for the legend.
        predicted: variant -> (rows, cols) published numbers, `NO_DATA` where there is none; where
            a variant has no such map, the ground truth stands in its row.
        captions: row label -> text under it: similarity to the first.
        title: of the figure: method, files, scene.
        magnitude_label, strongest_label: of the colour bars, with their units.

    Raises:
        SettingsError: variants or sizes that do not agree.
    """
    labels, predicted = np.asarray(labels), predicted or {}
    _check(magnitudes, strongest, labels, predicted)
    limit = robust_limit(list(magnitudes.values()), percentile=PERCENTILE)
    norms = (Normalize(0.0, limit), _norm_of(magnitudes, strongest))
    legend = _legend_entries(class_names, predicted)
    figure, top, below = _figure_for(labels.shape, len(magnitudes), len(legend))
    grid, bars = _grid(top, len(magnitudes))
    for axes, (label, magnitude) in zip(grid, magnitudes.items(), strict=True):
        magnitude = np.asarray(magnitude, float)
        seen = np.nan_to_num(magnitude) > 0
        pictures = [
            _map(axes[0], np.where(seen, magnitude, np.nan), norms[0], SEQUENTIAL, labels),
            _map(axes[1], np.where(seen, strongest[label], np.nan), norms[1], _STRONGEST, labels),
        ]
        classes = np.asarray(predicted.get(label, labels))
        axes[2].imshow(class_image(classes), interpolation="nearest")
        caption = f"\n{captions[label]}" if captions and captions.get(label) else ""
        dead = "" if seen.any() else "\nDEAD: all zero"
        axes[0].set_ylabel(wrapped(label + dead + caption, 2.6, size=10), fontsize=10)
        right = f"predicted class{_right(classes, labels)}" if label in predicted else ""
        axes[2].set_title(right or "ground truth", fontsize=10.5)
    for axis, text in zip(
        grid[0], ("attribution magnitude", "where it is strongest"), strict=False
    ):
        axis.set_title(text, fontsize=10.5)
    for axis in grid[-1]:
        axis.set_xlabel("column (pixels)", fontsize=9.5)
    cut = f"{magnitude_label}\n(scale ends at the {PERCENTILE:g}th percentile, {limit:.3g})"
    for column, (image, text) in enumerate(zip(pictures, (cut, strongest_label), strict=True)):
        bar = top.colorbar(image, cax=bars[column], orientation="horizontal",
                           extend="neither" if column else "max")  # fmt: skip
        bar.set_label(wrapped(text, 4, size=9.5), fontsize=9.5)
        bar.ax.tick_params(labelsize=8.5)
    _legend(below, legend)
    if title:
        figure.suptitle(wrapped(title, figure.get_figwidth(), size=13), fontsize=12.5)
    said = "Axes: rows and columns of pixels. White lines: borders of the ground truth."
    if any(not np.isfinite(m).all() or (np.asarray(m) <= 0).any() for m in magnitudes.values()):
        said += " Grey: no attribution."
    add_note(figure, f"{said}  {note}".strip(), synthetic=synthetic)
    return figure


def _check(
    magnitudes: Mapping[str, np.ndarray],
    strongest: Mapping[str, np.ndarray],
    labels: np.ndarray,
    predicted: Mapping[str, np.ndarray],
) -> None:
    if not magnitudes or set(magnitudes) != set(strongest) or set(predicted) - set(magnitudes):
        raise SettingsError(
            "Expected a magnitude and a strongest band of each variant; got magnitudes of "
            f"{', '.join(magnitudes) or 'none'}, strongest bands of "
            f"{', '.join(strongest) or 'none'}, classes of {', '.join(predicted) or 'none'}."
        )
    if labels.ndim != 2:
        raise SettingsError(f"Expected labels of (rows, cols), got shape {labels.shape}.")
    for given in (magnitudes, strongest, predicted):
        for label, values in given.items():
            if np.shape(values) != labels.shape:
                raise SettingsError(
                    f"Expected every map in the size of the scene, {labels.shape}; one of "
                    f"{label!r} has {np.shape(values)}."
                )


def _norm_of(
    magnitudes: Mapping[str, np.ndarray], strongest: Mapping[str, np.ndarray]
) -> Normalize:
    """From the least to the greatest wavelength that is the strongest anywhere."""
    shown = [
        np.asarray(strongest[label], float)[np.nan_to_num(np.asarray(values, float)) > 0]
        for label, values in magnitudes.items()
    ]
    every = np.concatenate(shown)
    every = every[np.isfinite(every)]
    if not every.size:
        return Normalize(0.0, 1.0)
    low, high = float(every.min()), float(every.max())
    return Normalize(low, high if high > low else low + 1.0)


def _figure_for(
    shape: tuple[int, ...], rows: int, entries: int
) -> tuple[Figure, SubFigure, SubFigure]:
    """Figure, part of the maps and part of the legend, with panels in the aspect of the scene."""
    aspect = shape[0] / shape[1]
    width = min(4.2, max(2.4, 5.5 / aspect))
    lines = -(-entries // _columns(3 * width))
    legend = 0.23 * lines + 0.15
    body = rows * (width * aspect + 0.35) + 1.0
    figure = new_figure(3 * width + 1.0, body + legend + 0.9)
    top, below = figure.subfigures(2, 1, height_ratios=[body, legend], squeeze=False)[:, 0]
    return figure, top, below


def _grid(part: SubFigure, rows: int) -> tuple[list[list[Axes]], list[Axes]]:
    """Three panels a row that move together, and under the first two the axes of colour bars."""
    cells = part.add_gridspec(rows + 1, 3, height_ratios=[1.0] * rows + [0.035])
    axes: list[list[Axes]] = []
    first = None
    for row in range(rows):
        line = []
        for column in range(3):
            axis = part.add_subplot(cells[row, column], sharex=first, sharey=first)
            first = first or axis
            axis.tick_params(labelsize=8.5, labelleft=column == 0, labelbottom=row == rows - 1)
            line.append(axis)
        axes.append(line)
    return axes, [part.add_subplot(cells[rows, column]) for column in range(2)]


def _columns(width: float) -> int:
    return max(2, int(width / 2.6))


def _map(
    axis: Axes, values: np.ndarray, norm: Normalize, colormap: str, labels: np.ndarray
) -> AxesImage:
    axis.set_facecolor(MISSING)
    image = axis.imshow(np.ma.masked_invalid(values), norm=norm, cmap=colormap,
                        interpolation="nearest")  # fmt: skip
    _outline(axis, labels)
    return image


def _outline(axis: Axes, labels: np.ndarray) -> None:
    """Lines along the borders of pixels whose labels differ."""
    down, right = np.nonzero(labels[1:] != labels[:-1]), np.nonzero(labels[:, 1:] != labels[:, :-1])
    style: dict[str, Any] = {"colors": _OUTLINE, "linewidth": 0.7, "alpha": 0.9}
    axis.hlines(down[0] + 0.5, down[1] - 0.5, down[1] + 0.5, **style)
    axis.vlines(right[1] + 0.5, right[0] - 0.5, right[0] + 0.5, **style)


def _right(classes: np.ndarray, labels: np.ndarray) -> str:
    known = labels > 0
    if not known.any():
        return ""
    return f": {100 * (classes[known] == labels[known]).mean():.1f} % of labelled pixels right"


def _legend_entries(
    class_names: Mapping[int, str], predicted: Mapping[str, np.ndarray]
) -> dict[int, str]:
    """Published number -> text; "no data" only where a map has such pixels."""
    entries = {n: f"{n}  {name}" for n, name in sorted(class_names.items())}
    entries[0] = "unlabelled"
    if any((np.asarray(classes) == NO_DATA).any() for classes in predicted.values()):
        entries[NO_DATA] = "no data"
    return entries


def _legend(part: SubFigure, entries: Mapping[int, str]) -> None:
    handles = [
        Patch(facecolor=class_color(n), edgecolor="#555555", label=plain(text))
        for n, text in entries.items()
    ]
    part.legend(
        handles=handles, loc="center", ncols=_columns(part.get_figure(root=True).get_figwidth()),
        fontsize=9, frameon=False,
    )  # fmt: skip
