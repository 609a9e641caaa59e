"""Photographs with their attributions laid over them, a row for each variant or method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.colors import POSITIVE, SEQUENTIAL, SIGNED, check_colormap, robust_limit, zero_of
from hsi.plots.words import number_text, wrapped

PERCENTILE = 99.5
"""Of the magnitudes of a scale, where it ends: gradients of photographs have a few outliers."""

MOST_PHOTOGRAPHS = 6
"""Side by side; of more, the first are shown, and the figure says so."""

_TILE = 2.35  # inches
_LIGHT = 0.45  # how much of the way to white the photograph under a map is
_SOFT = 0.5  # exponent of the transparency: below 1, weak places are seen too


def overlays(
    photographs: np.ndarray,
    maps: Mapping[str, np.ndarray],
    *,
    sample_titles: Sequence[str] | None = None,
    captions: Mapping[str, Sequence[str]] | None = None,
    overlay: bool = True,
    shared_scale: bool = True,
    title: str = "",
    attribution_label: str | Mapping[str, str] = "attribution",
    signed_map: str = SIGNED,
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Photographs in the first row, and under each its map of every variant or method.

    Maps over colour channels are summed over them, sign kept. A map that is nowhere negative in
    its row is drawn from zero upwards, any other with the signed colour map. Scales end at a
    percentile of the magnitudes, which the colour bar names.

    Args:
        photographs: (n, height, width, 3) in 0..1.
        maps: variant or method -> (n, height, width) or (n, height, width, 3) signed maps.
        sample_titles: one a photograph: file, class and score.
        captions: row label -> one line of text under each of its maps, "" for none: similarity.
        overlay: over a pale grey photograph, the weaker the map the more transparent; False draws
            the map alone.
        shared_scale: one scale for all rows (variants) instead of one a row (methods).
        title: of the figure: file, method.
        attribution_label: of the colour bars; also per row label.
        signed_map: colour map of signed maps, its middle at zero.

    Raises:
        SettingsError: shapes that do not agree, values of a photograph outside 0..1, or no such
            colour map.
    """
    photographs = np.asarray(photographs)
    _check(photographs, maps, captions or {}, sample_titles)
    check_colormap(signed_map)
    count = min(len(photographs), MOST_PHOTOGRAPHS)
    flat = {label: _per_pixel(np.asarray(values))[:count] for label, values in maps.items()}
    styles = _styles(flat, shared_scale, signed_map)
    figure, tiles, scales = _figure_for(photographs.shape, count, len(maps))
    _draw_photographs(tiles[0], photographs[:count], sample_titles)
    for row, scale, (label, values) in zip(tiles[1:], scales, flat.items(), strict=True):
        unit = (
            attribution_label
            if isinstance(attribution_label, str)
            else attribution_label.get(label, "")
        )
        below = captions.get(label) if captions else None
        under = photographs if overlay else None
        image = _draw_row(row, label, values, under, styles[label], below)
        _draw_scale(figure, image, scale, unit, dead=not values.any())
    if title:
        figure.suptitle(wrapped(title, figure.get_figwidth(), size=13), fontsize=12.5)
    used = {colormap for _, colormap in styles.values()}
    said = [
        f"Shown are the first {count} of {len(photographs)} photographs."
        if count < len(photographs)
        else "",
        zero_of(signed_map) if signed_map in used else "",
        "The weaker the attribution, the more transparent the colour." if overlay and maps else "",
        note,
    ]
    add_note(figure, "  ".join(part for part in said if part), synthetic=synthetic)
    return figure


def _check(
    photographs: np.ndarray,
    maps: Mapping[str, np.ndarray],
    captions: Mapping[str, Sequence[str]],
    titles: Sequence[str] | None,
) -> None:
    if photographs.ndim != 4 or photographs.shape[-1] != 3 or not len(photographs):
        raise SettingsError(
            f"Expected photographs of (samples, height, width, 3), got shape {photographs.shape}."
        )
    low, high = float(photographs.min()), float(photographs.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise SettingsError(
            f"Expected photographs with values in 0..1, got {low:g} to {high:g}; "
            "divide 8-bit values by 255."
        )
    for label, values in maps.items():
        if np.shape(values) not in (photographs.shape, photographs.shape[:3]):
            raise SettingsError(
                f"Expected maps of {label!r} in the size of the photographs, "
                f"{photographs.shape[:3]}; got {np.shape(values)}."
            )
    for what, texts in {**captions, **({} if titles is None else {"titles": titles})}.items():
        if len(texts) != len(photographs):
            raise SettingsError(
                f"Expected {len(photographs)} texts for {what!r}, one a photograph; "
                f"got {len(texts)}."
            )


def _per_pixel(values: np.ndarray) -> np.ndarray:
    return values.sum(axis=-1) if values.ndim == 4 else values


def _styles(
    maps: Mapping[str, np.ndarray], shared: bool, signed_map: str
) -> dict[str, tuple[Normalize, str]]:
    """Scale and colour map of each row; rows that share a scale share the colour map as well."""
    styles = {}
    for label, values in maps.items():
        group = list(maps.values()) if shared else [values]
        limit = robust_limit(group, percentile=PERCENTILE)
        positive = all(np.nanmin(member) >= 0 for member in group)
        low = 0.0 if positive else -limit
        styles[label] = (Normalize(low, limit, clip=True), "" if positive else signed_map)
    return styles


def _figure_for(
    shape: tuple[int, ...], count: int, rows: int
) -> tuple[Figure, list[list[Axes]], list[Axes]]:
    """Figure, tiles of each row (photographs first), and the places of the colour bars."""
    aspect = shape[1] / shape[2]
    height = (rows + 1) * (_TILE * aspect + 0.35) + 1.0
    figure = new_figure(max(4.6, count * _TILE + 1.4), height)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.04, wspace=0.02, hspace=0.02)
    grid = figure.add_gridspec(rows + 1, count + 1, width_ratios=[1.0] * count + [0.05])
    tiles = [
        [figure.add_subplot(grid[row, column]) for column in range(count)]
        for row in range(rows + 1)
    ]
    for axis in (axis for row in tiles for axis in row):
        axis.set(xticks=[], yticks=[])
    return figure, tiles, [figure.add_subplot(grid[row + 1, count]) for row in range(rows)]


def _draw_photographs(
    tiles: Sequence[Axes], photographs: np.ndarray, titles: Sequence[str] | None
) -> None:
    for place, (axis, photograph) in enumerate(zip(tiles, photographs, strict=True)):
        axis.imshow(np.clip(photograph, 0, 1))
        axis.set_label(f"photograph {place + 1}")
        if titles is not None:
            axis.set_title(wrapped(titles[place], _TILE, size=9), fontsize=9)
    tiles[0].set_ylabel("photograph", fontsize=10)


def _draw_row(
    tiles: Sequence[Axes],
    label: str,
    values: np.ndarray,
    photographs: np.ndarray | None,
    style: tuple[Normalize, str],
    captions: Sequence[str] | None,
) -> AxesImage:
    norm, signed_map = style
    positive = POSITIVE if photographs is not None else SEQUENTIAL
    for place, (axis, drawn) in enumerate(zip(tiles, values, strict=True)):
        alpha = None
        if photographs is not None:
            axis.imshow(_pale(photographs[place]), cmap="gray", vmin=0, vmax=1)
            strength = np.clip(np.abs(np.nan_to_num(drawn)) / float(norm.vmax or 1.0), 0, 1)
            alpha = strength**_SOFT
        image = axis.imshow(drawn, norm=norm, cmap=signed_map or positive, alpha=alpha)
        axis.set_label(f"{label}: {place + 1}")
        text = "DEAD: all zero" if not drawn.any() else ""
        text = "holds NaN" if not np.isfinite(drawn).all() else text
        words = "   ".join(part for part in (text, captions[place] if captions else "") if part)
        axis.set_xlabel(wrapped(words, _TILE, size=8.5), fontsize=8.5)
    tiles[0].set_ylabel(wrapped(label, _TILE, size=10), fontsize=10)
    return image


def _pale(photograph: np.ndarray) -> np.ndarray:
    """A light grey picture, on which colours are told from what was dark or coloured before."""
    grey = np.clip(photograph, 0, 1) @ np.array([0.2126, 0.7152, 0.0722])
    return _LIGHT + (1 - _LIGHT) * grey


def _draw_scale(figure: Figure, image: AxesImage, axes: Axes, unit: str, *, dead: bool) -> None:
    signed = float(image.get_clim()[0] or 0.0) < 0
    bar = figure.colorbar(image, cax=axes, extend="both" if signed else "max")
    bar.set_label(
        wrapped(f"{unit}\n(ends at the {PERCENTILE:g}th percentile)", _TILE, size=8.5), fontsize=8.5
    )
    high = float(image.get_clim()[1] or 0.0)
    ticks = [-high, 0.0, high] if signed else [0.0, high / 2, high]
    ticks = [0.0] if dead else ticks
    bar.set_ticks(ticks, labels=[number_text(v) for v in ticks])
    axes.tick_params(labelsize=8.5)
