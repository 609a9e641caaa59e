"""Colours: one class has one colour in every figure, and people who see colours less can read them.

The class palette begins with Okabe and Ito (2008). Each further colour was chosen as the one
farthest from all before it, from white and from the grey of unlabelled pixels, in OKLab (Ottosson
2020), taking the smallest of the distances in full vision and, less strictly, in simulated
deuteranopia and protanopia (Machado 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import Normalize, to_rgb

SEQUENTIAL = "viridis"
"""Colour map of values from zero or a minimum upwards."""

SIGNED = "RdBu_r"
"""Colour map of signed values: white is zero, red positive, blue negative."""

UNLABELLED = "#D9D9D9"
"""Colour of pixels without a class."""

CLASS_COLORS = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#4B0D0D",
    "#0D0D8A", "#8A3C5B", "#9A5BF7", "#3C4B0D", "#4B2CD8", "#0DD88A", "#C80D9A", "#4B0D5B",
    "#7A5B1C", "#F74B6B", "#8AF79A", "#7A8AE8", "#3C3C7A", "#6B0DA9", "#6BC8B9", "#6B1C3C",
)  # fmt: skip
"""Colour of the published class numbers 1, 2, ..."""

SERIES_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours of lines and bars that are no classes."""


def class_color(number: int) -> str:
    """The colour of a published class number; 0 is unlabelled.

    Above the palette's 24 colours they come again lighter, then darker, and so on.

    Example:
        >>> class_color(0), class_color(1)
        ('#D9D9D9', '#E69F00')
    """
    if number <= 0:
        return UNLABELLED
    turn, place = divmod(number - 1, len(CLASS_COLORS))
    if turn == 0:
        return CLASS_COLORS[place]
    towards = 1.0 if turn % 2 else 0.0
    share = 1 - 0.55 ** ((turn + 1) // 2)
    mixed = [(1 - share) * value + share * towards for value in to_rgb(CLASS_COLORS[place])]
    return "#" + "".join(f"{round(255 * value):02X}" for value in mixed)


def class_image(labels: np.ndarray, colors: Mapping[int, str] | None = None) -> np.ndarray:
    """A label map as a picture: (rows, cols) published numbers -> (rows, cols, 3) uint8.

    Args:
        labels: published numbers; 0 and below are unlabelled.
        colors: number -> colour, where other colours than those of the palette are wanted.
    """
    numbers, places = np.unique(labels, return_inverse=True)
    table = [to_rgb((colors or {}).get(int(n), class_color(int(n)))) for n in numbers]
    return np.round(255 * np.asarray(table)).astype(np.uint8)[places.reshape(np.shape(labels))]


def signed_norm(arrays: Sequence[np.ndarray]) -> Normalize:
    """One scale, symmetric about zero, for all these arrays; values that are not finite count not.

    All zero gives -1..1, so that a dead map is drawn as zero and not as noise.
    """
    largest = max((_largest(a) for a in arrays), default=0.0) or 1.0
    return Normalize(-largest, largest)


def _largest(array: np.ndarray) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0
