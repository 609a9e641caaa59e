"""Attribution tiles: a row of bands for the input and for each method or variant.

A tile shows the very band that its title names. All tiles of a row share one scale: a map that is
dead stays white and is called dead, instead of being stretched until its noise fills the range.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage

from hsi.errors import SettingsError
from hsi.plots import add_note, new_figure
from hsi.plots.band_choice import MOST_COLUMNS, choose_bands
from hsi.plots.colors import SEQUENTIAL, SIGNED, check_colormap, signed_norm, zero_of
from hsi.plots.words import number_text, plain, wrapped

__all__ = ["MOST_COLUMNS", "MOST_ROWS", "attribution_tiles", "choose_bands"]

MOST_ROWS = 24
"""Rows of tiles in a figure; of more bands than fit every k-th is shown, and the figure says so."""

_TILE = 1.05  # inches
_CAPTION = 0.2  # inches of a line of text under a row


@dataclass(frozen=True)
class _Row:
    """One kind of tile of one sample: its (rows, cols, channels) values and how they are drawn."""

    label: str
    values: np.ndarray
    norm: Normalize
    colormap: str
    scale_label: str
    signed: bool
    single: str = ""  # title of the only tile of a map that is the same in every band
    caption: str = ""  # the line of text under the row


def attribution_tiles(
    inputs: np.ndarray,
    attributions: Mapping[str, np.ndarray],
    *,
    bands: Sequence[int] | np.ndarray | None = None,
    wavelengths: Sequence[float] | np.ndarray | None = None,
    unit: str = "band",
    from_band: int | None = None,
    to_band: int | None = None,
    step_band: int | None = None,
    title: str = "",
    sample_titles: Sequence[str] | None = None,
    input_label: str = "standardised input",
    attribution_label: str | Mapping[str, str] = "d logit / d standardised input",
    shared_scale: bool = False,
    signed_map: str = SIGNED,
    captions: Mapping[str, Sequence[str]] | None = None,
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """Input and attributions of a few samples, band by band; the input stands once a sample.

    To compare variants of a network, the rows are the variants, with `shared_scale` and their
    similarity to the first as `captions`.

    Args:
        inputs: (n, rows, cols, channels) samples as the network takes them.
        attributions: row label -> (n, rows, cols, channels) signed maps.
        bands: (channels,) the number of each channel: the 1-based band of the sensor, or the
            component; None counts from 1.
        wavelengths: (channels,) nm, NaN where unknown; None where all are.
        unit: "band" or "component", for the titles.
        from_band, to_band, step_band: numbers to show, ends included. Without a step, as many as
            fit side by side are spread evenly.
        title: of the figure: model file, method.
        sample_titles: one a sample: class, pixel, score.
        input_label, attribution_label: of the colour bars; the latter also per row label.
        shared_scale: one scale for all attributions of the figure (to compare variants) instead
            of one for each row of a sample.
        signed_map: colour map of the attributions, its middle at zero. Gray maps stay signed:
            mid-grey is zero. What zero looks like is said, unless it is white.
        captions: row label -> a line of text under the row of each sample, "" for none.

    Raises:
        SettingsError: shapes that do not agree, numbers outside the data's, or no such colour
            map.
    """
    inputs = np.asarray(inputs)
    maps = {label: np.asarray(values) for label, values in attributions.items()}
    numbers = np.arange(1, inputs.shape[-1] + 1) if bands is None else np.asarray(bands)
    titles = list(sample_titles) if sample_titles is not None else [""] * len(inputs)
    _check(inputs, maps, numbers, wavelengths, titles)
    _check_captions(captions or {}, maps, len(inputs))
    check_colormap(signed_map)
    fitting = MOST_COLUMNS * max(1, MOST_ROWS // (len(inputs) * (1 + len(maps))))
    chosen, said = choose_bands(
        numbers, from_band=from_band, to_band=to_band, step_band=step_band, unit=unit, most=fitting
    )
    names = [_tile_title(unit, numbers[i], wavelengths, i) for i in chosen]
    blocks = [
        _rows_of(
            inputs[i][..., chosen],
            {label: values[i] for label, values in maps.items()},
            chosen,
            [values[..., chosen] for values in maps.values()] if shared_scale else None,
            (input_label, attribution_label, signed_map, unit),
            {label: texts[i] for label, texts in (captions or {}).items()},
        )
        for i in range(len(inputs))
    ]
    figure = _draw(blocks, names, titles, aspect=inputs.shape[1] / inputs.shape[2])
    if title:
        words = wrapped(title, figure.get_figwidth(), size=14)
        figure.suptitle(words, fontsize=13, fontweight="bold")
    zero = zero_of(signed_map) if maps else ""
    said = "  ".join(part for part in (said, zero, note) if part)
    add_note(figure, said, synthetic=synthetic)
    return figure


def _check(
    inputs: np.ndarray,
    maps: Mapping[str, np.ndarray],
    numbers: np.ndarray,
    wavelengths: Sequence[float] | np.ndarray | None,
    titles: Sequence[str],
) -> None:
    if inputs.ndim != 4 or not len(inputs):
        raise SettingsError(
            f"Expected inputs of (samples, rows, cols, channels), got shape {inputs.shape}."
        )
    for label, values in maps.items():
        if values.shape != inputs.shape:
            raise SettingsError(
                f"Expected maps of {label!r} in the shape of the inputs, {inputs.shape}; "
                f"got {values.shape}."
            )
    for what, given, wanted in (
        ("band numbers", numbers, inputs.shape[-1]),
        ("wavelengths", wavelengths, inputs.shape[-1]),
        ("sample titles", titles, len(inputs)),
    ):
        if given is not None and len(given) != wanted:
            raise SettingsError(f"Expected {wanted} {what}, got {len(given)}.")


def _check_captions(
    captions: Mapping[str, Sequence[str]], maps: Mapping[str, np.ndarray], samples: int
) -> None:
    for label, texts in captions.items():
        if label not in maps:
            raise SettingsError(f"A caption for {label!r}: expected one of {', '.join(maps)}.")
        if len(texts) != samples:
            raise SettingsError(
                f"Expected {samples} captions for {label!r}, one a sample; got {len(texts)}."
            )


def _tile_title(
    unit: str, number: int, wavelengths: Sequence[float] | np.ndarray | None, channel: int
) -> str:
    known = wavelengths is not None and np.isfinite(wavelengths[channel])
    return f"{unit} {number}" + (f" · {wavelengths[channel]:.0f} nm" if known else "")  # type: ignore[index]


def _rows_of(
    inputs: np.ndarray,
    maps: Mapping[str, np.ndarray],
    chosen: np.ndarray,
    scale_over: Sequence[np.ndarray] | None,
    style: tuple[str, str | Mapping[str, str], str, str],
    captions: Mapping[str, str],
) -> list[_Row]:
    """The rows of one sample, each with the one scale of its tiles."""
    input_label, attribution_label, signed_map, band_word = style
    # Single outliers of a sensor must not flatten all the rest; the colour bar shows the cut.
    low, high = np.nanpercentile(np.where(np.isfinite(inputs), inputs, np.nan), (1, 99))
    rows = [_Row("input", inputs, Normalize(low, high), SEQUENTIAL, input_label, False)]
    for label, values in maps.items():
        shown = values[..., chosen]
        if not values.any():
            label_shown = f"{label} DEAD: all zero"
        elif not shown.any():
            label_shown = f"{label} zero in the tiles shown"
        else:
            label_shown = label
        norm = signed_norm(scale_over if scale_over is not None else [shown])
        unit = (
            attribution_label
            if isinstance(attribution_label, str)
            else attribution_label.get(label, "")
        )
        same = values.shape[-1] > 1 and shown.any() and (values == values[..., :1]).all()
        single = f"every {band_word}" if same else ""
        caption = captions.get(label, "")
        rows.append(_Row(label_shown, shown, norm, signed_map, unit, True, single, caption))
    return rows


def _draw(
    blocks: Sequence[Sequence[_Row]],
    names: Sequence[str],
    titles: Sequence[str],
    *,
    aspect: float,
) -> Figure:
    """A subfigure for each sample, in it the lines of tiles."""
    columns = min(MOST_COLUMNS, len(names))
    lines = -(-len(names) // columns)
    tile = _TILE * aspect + 0.3
    said = sum(any(row.caption for row in rows) for rows in zip(*blocks, strict=True))
    height = len(blocks) * (lines * len(blocks[0]) * tile + said * _CAPTION + 0.45) + 0.8
    figure = new_figure(max(7.0, columns * (_TILE + 0.05) + 2.0), height)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    parts = figure.subfigures(len(blocks), 1, squeeze=False)[:, 0]
    for part, rows, title in zip(parts, blocks, titles, strict=True):
        if title:
            words = wrapped(title, figure.get_figwidth(), size=11)
            part.suptitle(words, fontsize=11, x=0.01, ha="left")
        _draw_sample(part, rows, names, columns, lines, tile)
    return figure


def _draw_sample(
    part: SubFigure,
    rows: Sequence[_Row],
    names: Sequence[str],
    columns: int,
    lines: int,
    tile: float,
) -> None:
    """The lines of tiles of one sample; a caption has a low line of its own, under the first."""
    heights: list[float] = []
    places: dict[tuple[int, int], int] = {}
    for line in range(lines):
        for number, row in enumerate(rows):
            places[line, number] = len(heights)
            heights += [tile, _CAPTION] if row.caption and not line else [tile]
    grid = part.add_gridspec(
        len(heights), columns + 1, width_ratios=[1.0] * columns + [0.12], height_ratios=heights
    )
    for (line, number), at in places.items():
        row = rows[number]
        if row.single and line:
            continue
        shown = range(line * columns, len(names))[: 1 if row.single else columns]
        for column, band in enumerate(shown):
            axes = part.add_subplot(grid[at, column])
            image = axes.imshow(
                row.values[..., band], norm=row.norm, cmap=row.colormap, interpolation="nearest"
            )
            _finish_tile(axes, row, row.single or names[band], row.values[..., band])
            if column == 0:
                axes.set_ylabel(plain(textwrap.fill(row.label, 16)), fontsize=10)
        if row.single and columns > 1:  # across an empty row the scale would be far away
            beside = axes.inset_axes((1.06, 0, 0.12, 1))
            beside.set_in_layout(False)
        else:
            beside = part.add_subplot(grid[at, columns])
        _draw_scale(part, image, beside, row)
        if row.caption and not line:
            _draw_caption(part.add_subplot(grid[at + 1, :columns]), row.caption)


def _draw_caption(axes: Axes, text: str) -> None:
    """A line of text in a cell of its own, which it may leave to the right."""
    axes.set_axis_off()
    words = axes.text(0, 0.5, plain(text), fontsize=9, va="center", transform=axes.transAxes)
    words.set_in_layout(False)


def _draw_scale(part: SubFigure, image: AxesImage, axes: Axes, row: _Row) -> None:
    """The colour bar of a row; of a row of zeros it has no numbers but 0."""
    bar = part.colorbar(image, cax=axes, extend="neither" if row.signed else "both")
    axes.tick_params(labelsize=8)
    bar.set_label(plain(textwrap.fill(row.scale_label, 20)), fontsize=8)
    if row.signed:
        low, high = float(row.norm.vmin or 0.0), float(row.norm.vmax or 0.0)
        ticks = [low, 0.0, high] if row.values.any() else [0.0]
        bar.set_ticks(ticks, labels=[number_text(v) for v in ticks])


def _finish_tile(axes: Axes, row: _Row, name: str, values: np.ndarray) -> None:
    """Name the tile, and say so where it is zero or has values that are not finite."""
    axes.set_xticks([])
    axes.set_yticks([])
    short = name.split(" · ")[0]
    # The wavelength stands over the top row; the number over every tile.
    axes.set_title(short if row.signed else name.replace(" · ", "\n"), fontsize=8.5, pad=2.5)
    axes.set_label(f"{row.label}: {name}")
    if row.signed and not values.any():
        axes.text(0.5, 0.5, "zero", transform=axes.transAxes, ha="center", va="center", fontsize=8)
    elif not np.isfinite(values).all():
        axes.text(0.5, 0.5, "NaN", transform=axes.transAxes, ha="center", va="center", fontsize=8)
