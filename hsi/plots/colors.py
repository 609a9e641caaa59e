"""Colours: one class has one colour in every figure, and people who see colours less can read them.

The class palette begins with Okabe and Ito (2008). Each further colour was chosen as the one
farthest from all before it, from white and from the grey of unlabelled pixels, in OKLab (Ottosson
2020), taking the smallest of the distances in full vision and, less strictly, in simulated
deuteranopia and protanopia (Machado 2009).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.colors import Normalize, to_rgb

from hsi.errors import SettingsError

SEQUENTIAL = "viridis"
"""Colour map of values from zero or a minimum upwards."""

SIGNED = "RdBu_r"
"""Colour map of signed values: white is zero, red positive, blue negative."""

SIGNED_CHOICES = ("RdBu_r", "PuOr_r", "BrBG_r", "coolwarm", "gray")
"""Colour maps with a neutral zero that people who see colours less can read; any other is taken."""

POSITIVE = "YlOrRd"
"""Colour map of a positive map over a photograph: light where it is weak, dark where strong."""

MISSING = "#BDBDBD"
"""Colour of what has no value."""

UNLABELLED = "#D9D9D9"
"""Colour of pixels without a class."""

WITHOUT_DATA = "#FFFFFF"
"""Colour of pixels without data: that of the page, since there is no pixel to speak of."""

CLASS_COLORS = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#4B0D0D",
    "#0D0D8A", "#8A3C5B", "#9A5BF7", "#3C4B0D", "#4B2CD8", "#0DD88A", "#C80D9A", "#4B0D5B",
    "#7A5B1C", "#F74B6B", "#8AF79A", "#7A8AE8", "#3C3C7A", "#6B0DA9", "#6BC8B9", "#6B1C3C",
)  # fmt: skip
"""Colour of the published class numbers 1, 2, ..."""

SERIES_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours of lines and bars that are no classes."""

LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
"""Of lines that are no classes, so that they differ without colour too."""

_GREYISH, _WHITISH, _BLACKISH = 0.12, 0.93, 0.25


def class_color(number: int) -> str:
    """The colour of a published class number; 0 is unlabelled, below it there is no data.

    Above the palette's 24 colours they come again lighter, then darker, and so on.

    Example:
        >>> class_color(0), class_color(1)
        ('#D9D9D9', '#E69F00')
    """
    if number <= 0:
        return UNLABELLED if number == 0 else WITHOUT_DATA
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
        labels: published numbers; 0 is unlabelled, below it there is no data.
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


def robust_limit(arrays: Sequence[np.ndarray], *, percentile: float = 99.0) -> float:
    """A limit of the magnitudes that single outliers do not move; 1 where all is zero.

    Args:
        arrays: signed values; those that are not finite count not.
        percentile: of the magnitudes of all arrays together. Where it is zero (sparse maps), the
            largest magnitude is taken.
    """
    every = [np.abs(a[np.isfinite(a)]).ravel() for a in map(np.asarray, arrays)]
    magnitudes = np.concatenate([*every, np.zeros(0)])
    if not magnitudes.size:
        return 1.0
    limit = float(np.percentile(magnitudes, percentile))
    return limit or float(magnitudes.max()) or 1.0


def check_colormap(name: str) -> str:
    """The name, if matplotlib knows a colour map of that name.

    Raises:
        SettingsError: it does not; the closest names are listed.
    """
    known = list(matplotlib.colormaps)
    if name in known:
        return name
    folded = {other.lower(): other for other in known}
    close = [folded[n] for n in difflib.get_close_matches(name.lower(), folded, n=4, cutoff=0.5)]
    raise SettingsError(
        f"Unknown colour map {name!r}: expected one of matplotlib's, such as "
        f"{', '.join(close or SIGNED_CHOICES)}."
    )


def zero_of(colormap: str) -> str:
    """What a signed map shows at zero, in words for a note; "" for one that is white there.

    Raises:
        SettingsError: no such colour map.
    """
    color = np.asarray(matplotlib.colormaps[check_colormap(colormap)](0.5)[:3])
    if np.ptp(color) > _GREYISH:
        return f"Colour map {colormap} is not neutral at zero."
    if color.min() > _WHITISH:
        return ""
    low, high = (matplotlib.colormaps[colormap](end)[:3] for end in (0.0, 1.0))
    if np.ptp(low) <= _GREYISH and np.ptp(high) <= _GREYISH:
        positive, negative = ("white", "black") if sum(high) > sum(low) else ("black", "white")
        return f"Mid-grey is zero, {positive} is positive, {negative} negative."
    return "Grey is zero." if color.max() > _BLACKISH else "Black is zero."
