"""Images that classes of a photograph's classifier like best, in colour."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.words import number_text, wrapped

MOST_COLUMNS = 4
SHARE = 99.5
"""Percentile of the magnitudes that gets full light: a few pixels would leave the others grey."""


def class_pictures(
    images: np.ndarray,
    *,
    titles: Sequence[str],
    title: str = "",
    input_label: str = "input",
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """A colour tile for each image, all on one scale.

    Mid-grey is zero, a channel at full light the 99.5th percentile of all magnitudes.

    Args:
        images: (n, rows, cols, 3) inputs of the network, scaled about zero.
        titles: (n,) of the tiles.
        title: of the figure.
        input_label: what a value is.

    Raises:
        SettingsError: another shape, or another number of titles.
    """
    images = np.asarray(images, float)
    if images.ndim != 4 or images.shape[-1] != 3 or len(images) != len(titles) or not images.size:
        raise SettingsError(
            f"Expected images (n, rows, cols, 3) with a title each, got shape {images.shape} and "
            f"{len(titles)} titles."
        )
    limit = float(np.percentile(np.abs(images), SHARE)) or 1.0
    columns = min(len(images), MOST_COLUMNS)
    lines = math.ceil(len(images) / columns)
    width, height = 3.6 * columns, 4.0 * lines + 0.8
    figure = new_figure(max(width, 5.0), height)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, image, words in zip(axes, images, titles, strict=False):
        axis.imshow(np.clip(0.5 + image / (2 * limit), 0, 1), interpolation="nearest")
        axis.set_title(wrapped(words, 3.6, size=9.5), fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    for axis in axes[len(images) :]:
        axis.set_visible(False)
    figure.suptitle(wrapped(title, figure.get_figwidth(), size=12.5), fontsize=12)
    light = f"full light {number_text(limit)} of the {input_label} and more"
    said = f"Red, green and blue are the input channels: mid-grey is zero, {light}."
    add_note(figure, f"{said}  {note}".strip(), synthetic=synthetic)
    return figure
