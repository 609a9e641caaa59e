"""A scene's classes: ground truth beside prediction, every pixel in the colour of its class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.colors import SERIES_COLORS, class_color, class_image
from hsi.plots.words import plain
from hsi.scene import NO_DATA


def class_maps(
    truth: np.ndarray,
    predicted: np.ndarray | Mapping[str, np.ndarray],
    class_names: Mapping[int, str],
    *,
    title: str = "",
    colors: Mapping[int, str] | None = None,
    masks: Mapping[str, np.ndarray] | None = None,
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Ground truth, predicted map(s) and the split side by side, with one legend.

    Args:
        truth: (rows, cols) published numbers, 0 unlabelled, `NO_DATA` where there is none.
        predicted: (rows, cols) published numbers of every pixel, or `NO_DATA`; or title -> such a
            map, for several variants.
        class_names: published number -> name; all of them stand in the legend.
        title: of the figure.
        colors: published number -> colour, where not the palette's.
        masks: name -> (rows, cols) bool, for example train, validation and test pixels: a panel
            more, with its own legend.

    Raises:
        SettingsError: maps of different sizes.
    """
    predictions = predicted if isinstance(predicted, Mapping) else {"predicted": predicted}
    panels = {"ground truth": truth, **predictions}
    for name, labels in {**panels, **(masks or {})}.items():
        if np.shape(labels) != np.shape(truth) or np.ndim(labels) != 2:
            raise SettingsError(
                f"Expected every map in the size of the ground truth, {np.shape(truth)}; "
                f"{name!r} has {np.shape(labels)}."
            )
    count = len(panels) + bool(masks)
    entries = len(masks) + 1 if masks else 0
    figure = _figure_for(np.shape(truth), count, len(class_names), entries=entries)
    axes = figure.subplots(1, count, sharex=True, sharey=True, squeeze=False)[0]
    for axis, (name, labels) in zip(axes, panels.items(), strict=False):
        axis.imshow(class_image(np.asarray(labels), colors), interpolation="nearest")
        axis.set_title(plain(name), fontsize=12)
    if masks:
        figure.legend(
            handles=_draw_masks(axes[-1], masks, np.asarray(truth)),
            loc="outside right lower",
            fontsize=10,
            frameon=False,
            title="split",
            title_fontsize=11,
        )
    for axis in axes:
        axis.set_xlabel("column (pixels)", fontsize=10)
        axis.tick_params(labelsize=9)
    axes[0].set_ylabel("row (pixels)", fontsize=10)
    handles = [
        Patch(
            facecolor=(colors or {}).get(n, class_color(n)),
            edgecolor="#555555",
            label=plain(f"{n}  {s}"),
        )
        for n, s in sorted(class_names.items())
    ]
    handles += [
        Patch(facecolor=class_color(number), edgecolor="#555555", label=text)
        for number, text in ((0, "unlabelled"), (NO_DATA, "no data"))
        if any((np.asarray(labels) == number).any() for labels in panels.values())
    ]
    figure.legend(
        handles=handles,
        loc="outside right upper",
        ncols=1 if len(handles) <= 26 else 2,
        fontsize=10,
        frameon=False,
        title="class",
        title_fontsize=11,
    )
    if title:
        figure.suptitle(plain(title), fontsize=13)
    add_note(figure, note, synthetic=synthetic)
    return figure


def _figure_for(shape: tuple[int, ...], panels: int, classes: int, *, entries: int) -> Figure:
    """A figure whose panels have the aspect of the scene and whose legends fit.

    `entries` is the length of the second legend, of the split.
    """
    aspect = shape[0] / shape[1]
    width = min(4.6, max(2.2, 7.0 / aspect))
    height = max(
        min(8.5, width * aspect) + 1.2,
        0.23 * (min(classes, 26) + entries + 2 * bool(entries)) + 1.2,
    )
    return new_figure(panels * (width + 0.4) + (2.8 if classes <= 26 else 5.2), height)


def _draw_masks(axis: Axes, masks: Mapping[str, np.ndarray], truth: np.ndarray) -> list[Patch]:
    """Draw each mask in a colour of its own, and return the entries of the legend."""
    picture = np.where(truth == NO_DATA, NO_DATA, 0)
    for place, mask in enumerate(masks.values(), start=1):
        picture[np.asarray(mask, bool)] = place
    table = {i + 1: SERIES_COLORS[i % len(SERIES_COLORS)] for i in range(len(masks))}
    axis.imshow(class_image(picture, table), interpolation="nearest")
    axis.set_title("split", fontsize=12)
    entries = [
        Patch(facecolor=table[i], label=plain(name)) for i, name in enumerate(masks, start=1)
    ]
    if not picture.all():
        entries.append(Patch(facecolor=class_color(0), edgecolor="#555555", label="in no part"))
    return entries
